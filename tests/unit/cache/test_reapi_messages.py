from kitbuild.cache.action_result import decode, digest_of
from kitbuild.cache.reapi_messages import Action, ActionResult
from kitbuild.digest import Digest

# What Bazel 2.1.0 put into an HTTP cache for a genrule with two outputs, and its name there.
KEY = "053077c2ebaac27193e30795d631ae3bbe78cdb1f2bfdea3d2d187ec38229b3c"
ACTION = bytes.fromhex(
    "0a450a403736383164336433663531363039626438396638636230363137633434356165386238396261336161313739366462"
    "623638643035646536346634626431373510c60312440a40623930303265316461363334623930346338626465323637376366"
    "626139613634663661366536346133633264316536663166343931356238346365636237391052"
)
RESULT = bytes.fromhex(
    "12680a2062617a656c2d6f75742f6b382d666173746275696c642f62696e2f622e74787412440a403538393162356235323264"
    "356466303836643066663062313130666264396432316262346663373136336166333464303832383661326538343666366265"
    "30331006126a0a2262617a656c2d6f75742f6b382d666173746275696c642f62696e2f632f642e74787412440a403864373462"
    "656563316265393936333232616437363831336261666239326434303833393839356436646437656538303862313763613230"
    "3165616339386265100232440a4031346633636261373066346464386531376637366636383937616334613839393361616230"
    "636532363565613430316638643465613434303237326462396336100542440a40373930616137393235303462383835356333"
    "393236333737663363663965316362316664323037326439333237353161326630323738336139386264666362381007"
)


def test_action_of_bazel_reads_and_writes_back_the_same() -> None:
    action = Action.decode(ACTION)

    assert ACTION == action.encode()
    assert KEY == Digest.of(action.encode()).hex
    assert action.command_digest is not None
    assert 454 == action.command_digest.size_bytes


def test_result_of_bazel_reads_and_writes_back_the_same() -> None:
    result = ActionResult.decode(RESULT)

    assert RESULT == result.encode()
    assert ["bazel-out/k8-fastbuild/bin/b.txt", "bazel-out/k8-fastbuild/bin/c/d.txt"] == [
        file.path for file in result.output_files
    ]
    assert Digest.of(b"hello\n") == digest_of(result.output_files[0].digest)
    assert Digest.of(b"said\n") == digest_of(result.stdout_digest)
    assert Digest.of(b"warned\n") == digest_of(result.stderr_digest)
    assert 0 == result.exit_code


def test_result_of_bazel_is_no_record() -> None:
    assert decode(RESULT) is None

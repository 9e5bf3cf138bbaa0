# config.json and runtime.json of a container as two shell functions for /usr/bin/service: `prepare` does what comes
# before the container exists, `attach` what needs its process; both end at the first step that fails.
# @sh quotes every word, so nothing in the files is run.
def step($name): [$name, (.[] | tostring | @sh)] | join(" ") | . + " || return 1";

# As JSON. This jq rounds numbers above 2^53, of which one occurs: 2^64 - 1, which stands for `unlimited` in rlimits.
def exact: tojson | split(":18446744073709552000") | join(":18446744073709551615");

input as $config
| (try input catch {}) as $runtime # not every bundle has one
| "prepare() {",
  (($runtime.mounts // [])[] | [.type // "", .source // "", .destination, (.options // [])[]] | step("add_mount")),
  (($runtime.mkdir // [])[] | [.] | step("add_folder")),
  (($runtime.cgroups // [])[] | [.] | step("add_cgroup")),
  # crun before 1.14.3 knows no runtime-spec 1.2, though it does all that is asked of it here.
  ($config | .ociVersion = "1.0.0" | .root.path = "\($bundle)/\(.root.path)" | [exact] | step("add_config")),
  "}",
  "attach() {",
  (($runtime.interfaces // [])[] | [.name, .add // "", .peer // "", .createInRoot // false] | step("add_interface")),
  (($runtime.bindNS // {}) as $paths
    | ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    | select(($paths[.] // "") != "")
    | [., $paths[.]] | step("add_namespace")),
  ":",
  "}"

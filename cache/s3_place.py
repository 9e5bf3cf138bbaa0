"""Where a bucket is that serves as a remote cache."""

from __future__ import annotations

import re
from typing import NamedTuple

from kitbuild.errors import UsageError

# Amazon's rule, and capitals and `_` as other stores have them.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
# Characters that mean the same in a URL and in the name of an object.
_PREFIX = re.compile(r"[\w!.*'()-]+(?:/[\w!.*'()-]+)*", re.ASCII)
_REGION = re.compile(r"[a-z0-9-]+")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+(?:/[^?#@\s]*)?")


class Place(NamedTuple):
    """A bucket, where in it, and at which store: Amazon's if there is no endpoint."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""


def placed(url: str) -> Place:
    """The place an s3:// URL says; raises UsageError, which shows nothing of it."""
    from urllib.parse import parse_qsl

    place, _, query = url.removeprefix("s3://").partition("?")
    if "@" in place:
        raise UsageError(
            "expected no credentials in the URL of a remote cache at s3://, got some",
            hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE",
        )
    bucket, _, prefix = place.partition("/")
    prefix = prefix.rstrip("/")
    if not _BUCKET.fullmatch(bucket):
        raise _malformed("one whose bucket has no such name")
    if prefix and not (_PREFIX.fullmatch(prefix) and {".", ".."}.isdisjoint(prefix.split("/"))):
        raise _malformed("one with other characters in its path than letters, digits and `!-_.*'()`")
    given = parse_qsl(query, keep_blank_values=True)
    options = dict(given)
    if len(options) < len(given) or not options.keys() <= {"endpoint", "region"}:
        raise _malformed("one with something else than `endpoint` and `region` behind its `?`")
    endpoint, region = options.get("endpoint", ""), options.get("region", "")
    if "endpoint" in options and not _ENDPOINT.fullmatch(endpoint):
        raise _malformed("one whose endpoint is no http or https URL")
    if "region" in options and not _REGION.fullmatch(region):
        raise _malformed("one whose region has no such name")
    return Place(bucket, prefix, endpoint, region)


def _malformed(got: str) -> UsageError:
    return UsageError(
        "expected a remote cache's URL such as"
        f" `s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-central-1`, got {got}"
    )

"""Our reading of pip's notation against packaging's, and the algebra that packaging lacks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion
from packaging.version import Version as TheirVersion

from vacc_gen.schema.lint.check import check_text
from vacc_gen.schema.lint.migration import RECIPE_VERSION
from vacc_gen.schema.packages import (
    ANY_VERSION,
    normalized_name,
    parse_pin,
    parse_specifiers,
    parse_version,
)

small = st.integers(0, 3)
release = st.lists(small, min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
epoch = st.sampled_from(["", "", "", "1!"])
suffix = st.one_of(
    st.just(""),
    st.builds("{}{}".format, st.sampled_from(["a", "b", "rc", ".dev", ".post"]), small),
)
plain = st.builds("{}{}{}".format, epoch, release, suffix)
with_local = st.builds("{}{}+{}".format, epoch, release, st.sampled_from(["cpu", "cu121", "1"]))
anything = st.builds(
    "{}{}{}{}{}{}".format,
    epoch,
    release,
    st.sampled_from(["", "a1", "-alpha.2", "_b3", "rc4", ".c", "preview0"]),
    st.sampled_from(["", "-3", ".post4", "post", "-r2", "_rev1"]),
    st.sampled_from(["", ".dev0", "dev", "-dev12"]),
    st.sampled_from(["", "+cpu", "+cu12.1", "+A-b_9"]),
)
clause = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), plain),
    st.builds("{}{}".format, st.sampled_from(["==", "!="]), with_local),
    st.builds("{}{}{}.*".format, st.sampled_from(["==", "!="]), epoch, release),
    st.builds("~={}.{}{}".format, small, release, suffix),
)
specifiers = st.lists(clause, max_size=3).map(",".join)
candidate = st.one_of(plain, plain, st.builds("{}{}+cpu".format, epoch, release))


@given(anything, anything)
def test_versions_order_as_packaging_orders_them(a, b):
    ours, theirs = (parse_version(a), parse_version(b)), (TheirVersion(a), TheirVersion(b))
    assert (ours[0] < ours[1], ours[0] == ours[1]) == (
        theirs[0] < theirs[1],
        theirs[0] == theirs[1],
    )


@given(specifiers, candidate)
def test_specifiers_match_what_packaging_matches(text, version):
    theirs = SpecifierSet(text).contains(TheirVersion(version), prereleases=True)
    assert (parse_version(version) in parse_specifiers(text)) == theirs


@given(specifiers, specifiers, candidate)
def test_set_algebra_agrees_with_membership(a, b, version):
    ours, theirs, one = parse_specifiers(a), parse_specifiers(b), parse_version(version)
    assert (one in (ours & theirs)) == (one in ours and one in theirs)
    assert (one in (ours | theirs)) == (one in ours or one in theirs)
    assert (one in ours.complement()) == (one not in ours)
    assert ours.complement().complement() == ours
    assert ours & theirs <= ours
    if ours <= theirs:
        assert one not in ours or one in theirs
    if not ours & theirs:
        assert not (one in ours and one in theirs)


@given(st.text(alphabet="ab1.+-_!vrcdevpost ", max_size=12))
def test_what_is_a_version_is_what_packaging_takes(text):
    try:
        TheirVersion(text)
    except InvalidVersion:
        with pytest.raises(ValueError, match="is not a version"):
            parse_version(text)
    else:
        parse_version(text)


@given(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,8}[A-Za-z0-9])?", fullmatch=True),
    st.sampled_from(["", "[a]", "[a, B_c]"]),
    specifiers,
)
def test_requirements_read_as_packaging_reads_them(name, extras, text):
    pin, theirs = parse_pin(f"{name}{extras} {text}"), Requirement(f"{name}{extras} {text}")
    assert pin.name == canonicalize_name(theirs.name) == normalized_name(name)
    assert set(pin.extras) == {canonicalize_name(extra) for extra in theirs.extras}
    assert pin.versions == parse_specifiers(str(theirs.specifier))


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        ("==2.1.0", "<2.2", True),
        ("==2.1.0", ">=2.6", False),
        (">=2", "<2", False),
        ("==2.0.0rc1", "<2", False),
        (">=4.31.0", "<4.52", True),
        ("==4.40", "==4.40.0", True),
        ("==4.40", "==4.40.1", False),
        ("==2.1.0+cpu", "==2.1.0", True),
        ("==2.1.0+cpu", "==2.1.0+cu121", False),
        ("~=1.4.2", "==1.5.*", False),
        ("!=1.0", "==1.0", False),
    ],
)
def test_overlap(a, b, overlap):
    assert bool(parse_specifiers(a) & parse_specifiers(b)) is overlap


def test_nothing_asked_means_any_version():
    assert parse_pin("tiktoken").versions == ANY_VERSION


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a requirement"),
        ("torch=2.1", "is not a version bound"),
        ("torch==", "is not a version bound"),
        ("torch 2.1", "is not a requirement"),
        ("torch==2.1,", "is not a version bound"),
        ("torch===2.1", "compares text"),
        ("torch>=2.1+cpu", "takes no local version"),
        ("torch>=2.*", "takes no"),
        ("torch==2.1rc1.*", "follows a plain release"),
        ("torch~=2", "needs two numbers"),
        ("torch==nightly", "is not a version"),
        ("torch; python_version < '3.9'", "marker"),
        ("torch @ https://example.org/torch.whl", "URL"),
    ],
)
def test_what_no_lock_can_answer_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_pin(text)


@pytest.mark.parametrize(
    ("pin", "hint"),
    [
        ("torch=2.1.0", "did you mean `torch==2.1.0`?"),
        ("torch = 2.1.*", "did you mean `torch==2.1.*`?"),
        ("torch 2.1.0", None),
        ("torch>=", None),
    ],
)
def test_a_lone_equals_sign_is_hinted_at(pin, hint):
    text = f"version: {RECIPE_VERSION}\nenvironment:\n  pins:\n    - {pin}\n"
    (found,) = [one for one in check_text(text, "vacc.yaml") if one.code == "VG185"]
    assert found.hint == hint

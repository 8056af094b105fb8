"""Each kind of receiver finds its part of the room, whatever the others do, in slots and in bytes."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from callstream.runtime.ties import Kin, Tie, address_tie, ties_of
from stream_app.shares import Kind, Share, Shares

SLOTS, SIZE = 200, 200_000
LARGEST = 60_000
OURS = 160_000  # of the bytes, where the largest are larger than a part
PARTS = {Kind.QUICK: 4, Kind.NEW: 2, Kind.SLOW: 2, Kind.SILENT: 1}  # in sixteenths

kinds = st.sampled_from(Kind)
steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "move", "tie", "give back"]), kinds, st.integers(0, 400), st.integers(1, LARGEST)
    ),
    max_size=400,
)


def tied(number: int) -> tuple[Tie, ...]:
    return ties_of(f"http://h{number}.site-{number % 50}.example:80")


def follow(shares: Shares, held: list[Share], step: tuple[str, Kind, int, int]) -> None:
    what, kind, number, size = step
    if what == "claim":
        if (share := shares.claim(kind, tied(number), size)) is not None:
            held.append(share)
    elif held:
        share = held[number % len(held)]
        if what == "move":
            shares.move(share, kind)
        elif what == "tie":
            shares.tie(share, Tie(Kin.ADDRESS, str(number % 7)))
        else:
            held.remove(share)
            shares.give_back(share)


@given(steps)
def test_a_kind_that_holds_less_than_its_part_finds_room_for_one_more(steps: list[tuple[str, Kind, int, int]]) -> None:
    shares = Shares(SLOTS, SIZE, LARGEST)
    held: list[Share] = []
    for step in steps:
        follow(shares, held, step)
        assert sum(shares.held(kind)[0] for kind in Kind) <= SLOTS
        assert sum(share.size for share in held) == sum(shares.held(kind)[1] for kind in Kind) <= SIZE
    for kind, part in PARTS.items():
        slots, size = shares.held(kind)
        if slots + 1 < SLOTS * part // 16 and size + 2_000 <= OURS * part // 16:
            assert shares.claim(kind, ties_of("http://new.nobody.example:80"), 1_000) is not None


@given(steps)
def test_what_is_given_back_is_there_again(steps: list[tuple[str, Kind, int, int]]) -> None:
    shares = Shares(SLOTS, SIZE, LARGEST)
    held: list[Share] = []
    for step in steps:
        follow(shares, held, step)
    for share in held:
        shares.give_back(share)
    assert {shares.held(kind) for kind in Kind} == {(0, 0)}
    assert all(shares.claim(kind, tied(1), 1_000) is not None for kind in Kind for _ in range(5))


def test_one_domain_and_one_address_are_bounded_together_and_leave_room_for_another() -> None:
    for tie in (Tie(Kin.DOMAIN, "attacker.example"), Tie(Kin.ADDRESS, "192.0.2.7")):
        shares = Shares(1_000, SIZE)
        taken = [shares.claim(Kind.NEW, (Tie(Kin.RECEIVER, str(number)), tie), 1) for number in range(1_000)]
        assert 100 < sum(share is not None for share in taken) < 250
        assert shares.claim(Kind.NEW, (Tie(Kin.RECEIVER, "other"),), 1) is not None


def crowd(shares: Shares, kind: Kind, size: int = 1) -> list[Share]:
    """Let ever other receivers take all room of a kind that there is for one of this size."""
    names = (Tie(Kin.RECEIVER, f"{kind}-{size}-{number}") for number in count())
    return list(iter(lambda: shares.claim(kind, (next(names),), size), None))


def test_what_is_larger_than_a_part_counts_whole_and_takes_nothing_from_the_others_parts() -> None:
    shares = Shares(SLOTS, SIZE, LARGEST)
    held = [*crowd(shares, Kind.SLOW, LARGEST), *crowd(shares, Kind.SILENT, LARGEST)]
    assert {share.size for share in held} == {LARGEST}
    small = [*crowd(shares, Kind.NEW, 1_000), *crowd(shares, Kind.QUICK, 1_000)]
    assert sum(share.size for share in (*held, *small)) <= SIZE
    assert shares.held(Kind.NEW)[1] >= OURS * 2 // 16 - 1_000
    assert shares.held(Kind.QUICK)[1] >= OURS * 4 // 16 - 2_000


def test_of_the_largest_each_kind_has_one_where_a_part_is_as_large_and_one_has_where_none_is() -> None:
    for largest, found in ((SIZE // 8, 4), (LARGEST, 1), (10 * SIZE, 1)):
        shares = Shares(SLOTS, SIZE, largest)
        filled = [share for kind in Kind for share in crowd(shares, kind, SIZE // 200)]
        for kind in Kind:
            for share in filled:
                if share.kind is kind:
                    shares.give_back(share)
        assert sum(shares.claim(kind, tied(kind), largest) is not None for kind in Kind) >= found


def test_large_results_for_quick_ones_leave_room_for_small_ones() -> None:
    for size in (1_000, 5_000, 12_500, 25_000):
        shares = Shares(SIZE, SIZE, 25_000)
        for kind in (Kind.SILENT, Kind.SLOW, Kind.NEW):
            crowd(shares, kind, 100)
        assert crowd(shares, Kind.QUICK, size)
        assert len(crowd(shares, Kind.QUICK, 100)) >= min(size, 6_000) // 200


def test_at_an_address_where_one_domain_holds_much_another_has_a_little() -> None:
    cdn = Tie(Kin.ADDRESS, "192.0.2.7")
    for kind in (Kind.NEW, Kind.SLOW, Kind.SILENT):
        for size in (1, 20_000):
            shares = Shares(1_000, SIZE, 25_000)
            names = (ties_of(f"http://n{number}.attacker.example:80") for number in count())
            while shares.claim(kind, (*next(names), cdn), size) is not None:
                pass
            assert shares.claim(kind, (*ties_of("http://under-no-domain:80"), cdn), size) is None
            assert shares.claim(kind, (*ties_of("http://large.example:80"), cdn), size) is not None
            good = [shares.claim(kind, (*ties_of("http://good.example:80"), cdn), 100) for _ in range(3)]
            assert None not in good


def test_where_others_hold_half_of_the_part_of_the_quick_each_of_them_still_has_some_of_it() -> None:
    shares, names = Shares(1_000, 1_000_000), (Tie(Kin.RECEIVER, str(number)) for number in count())
    for kind in (Kind.SILENT, Kind.SLOW, Kind.NEW):
        while shares.claim(kind, (next(names),), 1) is not None:
            pass
    assert all(shares.claim(Kind.QUICK, (next(names),), 1) is not None for _ in range(125))
    assert all(shares.claim(Kind.QUICK, (Tie(Kin.RECEIVER, "one"),), 1) is not None for _ in range(5))


def test_who_owns_a_name_is_told_by_its_registered_domain() -> None:
    assert ties_of("http://a.b.co.uk:80")[1:] == ties_of("https://c.b.co.uk:443")[1:] == (Tie(Kin.DOMAIN, "b.co.uk"),)
    assert ties_of("http://a.github.io:80")[1] != ties_of("http://b.github.io:80")[1], "it belongs to its users"
    assert len(ties_of("http://receiver:8001")) == 1


def test_an_address_is_one_in_every_form_and_an_ipv6_one_its_network() -> None:
    assert address_tie("::ffff:192.0.2.7") == address_tie("192.0.2.7") == ties_of("http://192.0.2.7:80")[1]
    assert address_tie("2001:db8::1") == address_tie("2001:db8::ffff:1") == ties_of("http://[2001:db8::2]:80")[1]
    assert address_tie("2001:db8::1") != address_tie("2001:db8:0:1::1")

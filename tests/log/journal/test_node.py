import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.log.journal.cluster import Cluster, make_event

from tidings.exceptions import LogCorrupt, LogTooNew
from tidings.log.journal.base import LossReason
from tidings.log.journal.controls import Begin, Heartbeat, HubNote, KeyShared, NodeGone
from tidings.log.journal.entries import KEY_RULES, RULES, NodeBatch, decode_batch, encode_batch
from tidings.log.journal.node import MAX_RESEND_S, MIN_RESEND_S, FoldState
from tidings.log.journal.sessions import GONE_S, LIVE_S

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["publish"] * 6 + ["leave", "come back", "restart", "pass", "pass"]),
        st.integers(0, 2),
        st.integers(1, 40),
    ),
    max_size=40,
)


@given(
    steps=STEPS,
    seed=st.integers(0, 2**32),
    lost=st.sampled_from([0.0, 0.2, 0.5]),
    doubled=st.sampled_from([0.0, 0.2]),
    max_delay_s=st.sampled_from([0.0, 0.1, 2.0]),
    store_s=st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=60, deadline=None)
def test_nodes_agree_on_a_journal_that_loses_doubles_delays_and_reorders(
    steps: list[tuple[str, int, int]], seed: int, lost: float, doubled: float, max_delay_s: float, store_s: float
) -> None:
    cluster = Cluster(3, seed=seed, lost=lost, doubled=doubled, max_delay_s=max_delay_s, store_s=store_s)
    cluster.loop.advance(3.0)
    published: list[str] = []
    for action, number, amount in steps:
        node = cluster.nodes[number]
        match action:
            case "publish":
                texts = [f"{node.name} {len(published) + place}" for place in range(amount % 5 + 1)]
                published += texts
                node.publish(texts)
            case "leave":
                node.journal.leave()
            case "come back":
                node.journal.come_back()
            case "restart":
                cluster.restart(number)
        cluster.loop.advance(amount / 5)
    cluster.heal()
    cluster.check(published)
    answered = {text for node in cluster.nodes for text in node.answered}
    restarted = {number for action, number, _ in steps if action == "restart"}
    for number, node in enumerate(cluster.nodes):
        if number not in restarted:
            assert {text for text in published if text.startswith(node.name)} <= answered, "nothing is lost"
    leads = {node.node.sessions.lead and node.node.sessions.lead.name for node in cluster.nodes}
    assert len(leads) == 1
    assert sum(node.node.leads for node in cluster.nodes) == 1
    assert all(node.node.joined for node in cluster.nodes)
    assert all(len(node.node.sessions) == 3 for node in cluster.nodes)


def joined(nodes: int, **faults: float) -> Cluster:
    cluster = Cluster(nodes, **faults)
    cluster.loop.advance(1.0)
    assert all(node.node.joined for node in cluster.nodes)
    return cluster


def test_entry_that_is_lost_is_appended_again_with_longer_delays() -> None:
    cluster = joined(1)
    node = cluster.nodes[0]
    sent: list[float] = []
    node.journal.append = lambda body: sent.append(cluster.clock.now)  # type: ignore[method-assign]
    start = cluster.clock.now
    node.publish(["node-0 a"])
    cluster.loop.advance(4.0)
    delays = [round(later - earlier, 6) for earlier, later in zip([start, *sent], sent, strict=False)]
    assert delays == [0, MIN_RESEND_S, 0.6, MAX_RESEND_S, MAX_RESEND_S, MAX_RESEND_S]


def test_dead_node_is_gone_after_a_time_and_the_next_oldest_leads() -> None:
    cluster = joined(3)
    first, second, third = cluster.nodes
    assert [node.node.leads for node in cluster.nodes] == [True, False, False]
    first.kill()
    cluster.loop.advance(LIVE_S + 1.5)
    assert second.node.leads
    assert not third.node.leads
    assert len(third.node.sessions) == 3
    cluster.loop.advance(GONE_S - LIVE_S + 1.5)
    assert len(second.node.sessions) == len(third.node.sessions) == 2


def test_node_that_was_only_slow_stays() -> None:
    cluster = joined(2)
    slow = cluster.nodes[1]
    cluster.loop.advance(2.0)
    session = slow.node.sessions.live[1]
    batch = NodeBatch(
        rules=RULES,
        session=cluster.nodes[0].node.sessions.live[0].name,
        number=cluster.nodes[0].node.sessions.live[0].number + 1,
        events=[],
        controls=[NodeGone(session=session.name, number=session.number - 1)],
    )
    cluster.engine.store(encode_batch(batch))
    cluster.loop.run_until_idle()
    assert all(session.name in node.node.sessions for node in cluster.nodes)


def test_node_that_comes_back_after_it_was_gone_proposes_again_in_a_new_session() -> None:
    cluster = joined(2)
    away = cluster.nodes[1]
    before = away.node.sessions.live[1].name
    away.journal.leave()
    away.publish(["node-1 a", "node-1 b"])
    cluster.loop.advance(GONE_S + 3.0)
    assert len(cluster.nodes[0].node.sessions) == 1
    away.journal.come_back()
    cluster.loop.advance(5.0)
    assert [session.node for session in cluster.nodes[0].node.sessions.live] == ["node-0", "node-1"]
    assert before not in away.node.sessions
    assert away.answered == ["node-1 a", "node-1 b"]
    for node in cluster.nodes:
        assert node.storage.texts == ["node-1 a", "node-1 b"], "what was appended while it was away came too late"


def test_restarted_node_replaces_its_session_immediately() -> None:
    cluster = joined(2)
    old = cluster.nodes[0].node.sessions.live[0]
    assert old.node == "node-0"
    cluster.restart(0)
    cluster.loop.advance(0.3)
    for node in cluster.nodes:
        assert [session.node for session in node.node.sessions.live] == ["node-1", "node-0"]
        assert old.name not in node.node.sessions


def test_node_whose_judge_differs_stops_and_the_others_go_on() -> None:
    cluster = joined(3)
    patched = cluster.nodes[1]
    patched.skew = b"another decision"
    cluster.nodes[0].publish(["node-0 a"])
    cluster.loop.advance(5.0)
    ((reason, error),) = patched.losses
    assert reason is LossReason.DIFFERS
    assert isinstance(error, LogCorrupt)
    assert "'node-1' has another log than 'node-0', 'node-2'" in str(error)
    assert cluster.nodes[0].losses == cluster.nodes[2].losses == []
    cluster.nodes[2].publish(["node-2 b"])
    cluster.loop.advance(1.0)
    assert cluster.nodes[0].storage.texts == ["node-0 a", "node-2 b"]


@pytest.mark.parametrize("patched", [0, 1])
def test_of_two_nodes_that_differ_the_newer_one_stops(patched: int) -> None:
    cluster = joined(2)
    cluster.nodes[patched].skew = b"another decision"
    cluster.nodes[0].publish(["node-0 a"])
    cluster.loop.advance(5.0)
    assert [bool(node.losses) for node in cluster.nodes] == [False, True]


@pytest.mark.parametrize("away_s", [1.0, LIVE_S + 0.5, GONE_S - 0.5])
def test_of_two_nodes_that_differ_one_goes_on_also_after_silence_of_the_older(away_s: float) -> None:
    cluster = joined(2)
    older, newer = cluster.nodes
    newer.skew = b"another decision"
    older.journal.leave()
    newer.publish(["node-1 a"])
    cluster.loop.advance(away_s)
    older.journal.come_back()
    cluster.loop.advance(5.0)
    assert [bool(node.losses) for node in cluster.nodes] == [False, True]


def test_entry_of_newer_rules_stops_the_node() -> None:
    cluster = joined(1)
    body = encode_batch(NodeBatch(rules=RULES + 1, session="s", number=1, events=[], controls=[]))
    cluster.engine.store(body)
    cluster.loop.run_until_idle()
    ((reason, error),) = cluster.nodes[0].losses
    assert (reason, type(error)) == (LossReason.FAILED, LogTooNew)


def test_controls_of_newer_rules_are_left_out_while_an_old_node_takes_part() -> None:
    cluster = joined(1)
    node = cluster.nodes[0].node
    old = Begin(node="old", after=node.seq, rules=KEY_RULES - 1, version="1")
    cluster.engine.store(encode_batch(NodeBatch(rules=1, session="old", number=1, events=[], controls=[old])))
    cluster.loop.run_until_idle()
    bodies = []

    def propose() -> None:
        while node.busy:
            cluster.loop.advance(0.1)
        node.propose((), [KeyShared("id", "node-0", b"line"), HubNote("note", b"")])
        cluster.loop.run_until_idle()
        bodies.append(decode_batch(cluster.engine.entries[-1].body))

    propose()
    cluster.loop.advance(GONE_S + 3.0)
    assert len(node.sessions) == 1
    propose()
    kinds = [[type(control) for control in body.controls if not isinstance(control, Heartbeat)] for body in bodies]
    assert kinds == [[HubNote], [KeyShared, HubNote]]
    assert [body.rules for body in bodies] == [KEY_RULES - 1, RULES]


def test_damaged_entry_is_left_out_by_all_nodes(caplog: pytest.LogCaptureFixture) -> None:
    cluster = joined(2)
    cluster.engine.store(b"\xc1 damaged")
    cluster.nodes[0].publish(["node-0 a"])
    cluster.loop.advance(5.0)
    cluster.check(["node-0 a"])
    assert "left out" in caplog.text


def test_error_of_the_caller_stops_the_node(caplog: pytest.LogCaptureFixture) -> None:
    cluster = joined(2)
    broken = cluster.nodes[1]
    broken.under_way = ["not what is under way"]
    cluster.nodes[0].publish(["node-0 a"])
    broken.node.propose([make_event("node-1 x")], ())
    cluster.loop.advance(3.0)
    ((reason, error),) = broken.losses
    assert reason is LossReason.FAILED
    assert "could not be folded" in str(error)
    assert cluster.nodes[0].storage.texts == ["node-0 a", "node-1 x"]


def test_lost_entries_of_the_journal_stop_the_node_with_their_reason() -> None:
    cluster = joined(1)
    node = cluster.nodes[0]
    node.journal.leave()
    cluster.engine.store(b"never read")
    cluster.engine.trim(cluster.engine.state().last)
    node.journal.come_back()
    cluster.loop.run_until_idle()
    assert [reason for reason, _ in node.losses] == [LossReason.TRIMMED]


def test_state_of_the_fold_is_damaged_or_the_same_after_decoding() -> None:
    state = joined(2).nodes[0].storage.state
    assert FoldState.decode(state.encode()) == state
    for damaged in (b"", b"\xc1", state.encode()[:-1], state.encode() + b"\x00"):
        with pytest.raises(LogCorrupt):
            FoldState.decode(damaged)


def test_node_pauses_the_journal_while_the_caller_stores_slowly() -> None:
    cluster = joined(2)
    slow = cluster.nodes[1]
    slow.cluster, vars(slow)["_store_s"] = cluster, 100.0
    for number in range(200):
        cluster.nodes[0].publish([f"node-0 {number}"])
        cluster.loop.run_until_idle()
    waiting = vars(slow.node)["_waiting"]
    assert 64 <= len(waiting) < 100
    assert len(cluster.nodes[0].storage.texts) == 200
    vars(slow)["_store_s"] = 0.0
    cluster.loop.advance(101.0)
    assert slow.storage.texts == cluster.nodes[0].storage.texts

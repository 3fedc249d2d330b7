"""The state table against a second opinion, and what cannot be in any correct one."""

import pytest
from pynetdicom.fsm import ACTIONS, TRANSITION_TABLE

from pacskit.dimse.upper.state import TRANSITIONS, Action, Event, State, transition


def test_the_same_cells_are_filled():
    assert {(event.name, state.name) for state, event in TRANSITIONS} == set(TRANSITION_TABLE)


@pytest.mark.parametrize(("event", "state"), sorted(TRANSITION_TABLE))
@pytest.mark.parametrize("requestor", [True, False])
def test_every_cell_is_that_of_pynetdicom(event, state, requestor):
    action, following = transition(State[state], Event[event], requestor=requestor)
    assert action == TRANSITION_TABLE[event, state]
    theirs = ACTIONS[action][2]
    assert following.name in ((theirs,) if isinstance(theirs, str) else theirs)


def test_a_release_collision_leads_each_side_elsewhere():
    assert transition(State.Sta7, Event.Evt12, requestor=True) == (Action.AR_8, State.Sta9)
    assert transition(State.Sta7, Event.Evt12, requestor=False) == (Action.AR_8, State.Sta10)


@pytest.mark.parametrize("state", [s for s in State if s not in (State.Sta1, State.Sta4)])
@pytest.mark.parametrize("number", [3, 4, 6, 10, 12, 13, 16, 17, 19])
def test_whatever_a_peer_does_has_an_answer_where_there_is_a_connection(state, number):
    assert transition(state, Event(number)) is not None


def test_every_action_is_used():
    assert {action for action, _ in TRANSITIONS.values()} == set(Action)


def test_empty_cells_are_none():
    assert transition(State.Sta6, Event.Evt1) is None

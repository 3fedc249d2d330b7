"""The state machine of the DICOM upper layer protocol, PS3.8 table 9-10 as the standard prints it."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class State(IntEnum):
    """States of an association (PS3.8 tables 9-1 to 9-5)."""

    Sta1 = 1  # idle
    Sta2 = 2  # transport connection open, awaiting A-ASSOCIATE-RQ
    Sta3 = 3  # awaiting the local user's answer to a request
    Sta4 = 4  # awaiting the transport connection to open
    Sta5 = 5  # awaiting A-ASSOCIATE-AC or -RJ
    Sta6 = 6  # association established
    Sta7 = 7  # awaiting A-RELEASE-RP
    Sta8 = 8  # awaiting the local user's answer to a release
    Sta9 = 9  # release collision, requestor: awaiting the local user's answer
    Sta10 = 10  # release collision, acceptor: awaiting A-RELEASE-RP
    Sta11 = 11  # release collision, requestor: awaiting A-RELEASE-RP
    Sta12 = 12  # release collision, acceptor: awaiting the local user's answer
    Sta13 = 13  # awaiting the end of the transport connection


class Event(IntEnum):
    """Events of the table's rows."""

    Evt1 = 1  # local user: A-ASSOCIATE request
    Evt2 = 2  # transport connection confirmed
    Evt3 = 3  # A-ASSOCIATE-AC received
    Evt4 = 4  # A-ASSOCIATE-RJ received
    Evt5 = 5  # transport connection indicated
    Evt6 = 6  # A-ASSOCIATE-RQ received
    Evt7 = 7  # local user: A-ASSOCIATE response, accept
    Evt8 = 8  # local user: A-ASSOCIATE response, reject
    Evt9 = 9  # local user: P-DATA request
    Evt10 = 10  # P-DATA-TF received
    Evt11 = 11  # local user: A-RELEASE request
    Evt12 = 12  # A-RELEASE-RQ received
    Evt13 = 13  # A-RELEASE-RP received
    Evt14 = 14  # local user: A-RELEASE response
    Evt15 = 15  # local user: A-ABORT request
    Evt16 = 16  # A-ABORT received
    Evt17 = 17  # transport connection closed
    Evt18 = 18  # ARTIM timer expired
    Evt19 = 19  # unrecognized or invalid PDU received


class Action(StrEnum):
    """Actions of the table's cells (PS3.8 tables 9-6 to 9-9)."""

    AE_1 = "AE-1"  # open the transport connection
    AE_2 = "AE-2"  # send A-ASSOCIATE-RQ
    AE_3 = "AE-3"  # tell: accepted
    AE_4 = "AE-4"  # tell: rejected; close the transport connection
    AE_5 = "AE-5"  # start ARTIM
    AE_6 = "AE-6"  # stop ARTIM; tell: association asked for (or send A-ASSOCIATE-RJ)
    AE_7 = "AE-7"  # send A-ASSOCIATE-AC
    AE_8 = "AE-8"  # send A-ASSOCIATE-RJ; start ARTIM
    DT_1 = "DT-1"  # send P-DATA-TF
    DT_2 = "DT-2"  # tell: data
    AR_1 = "AR-1"  # send A-RELEASE-RQ
    AR_2 = "AR-2"  # tell: release asked for
    AR_3 = "AR-3"  # tell: released; close the transport connection
    AR_4 = "AR-4"  # send A-RELEASE-RP; start ARTIM
    AR_5 = "AR-5"  # stop ARTIM
    AR_6 = "AR-6"  # tell: data
    AR_7 = "AR-7"  # send P-DATA-TF
    AR_8 = "AR-8"  # tell: release asked for, collision
    AR_9 = "AR-9"  # send A-RELEASE-RP
    AR_10 = "AR-10"  # tell: released
    AA_1 = "AA-1"  # send A-ABORT (service user); start ARTIM
    AA_2 = "AA-2"  # stop ARTIM; close the transport connection
    AA_3 = "AA-3"  # tell: aborted; close the transport connection
    AA_4 = "AA-4"  # tell: aborted, connection lost
    AA_5 = "AA-5"  # stop ARTIM
    AA_6 = "AA-6"  # ignore the PDU
    AA_7 = "AA-7"  # send A-ABORT
    AA_8 = "AA-8"  # send A-ABORT (service provider); tell: aborted; start ARTIM


TABLE_9_10 = """
       Sta1  Sta2  Sta3  Sta4  Sta5  Sta6  Sta7  Sta8  Sta9  Sta10 Sta11 Sta12 Sta13
Evt1   AE-1  -     -     -     -     -     -     -     -     -     -     -     -
Evt2   -     -     -     AE-2  -     -     -     -     -     -     -     -     -
Evt3   -     AA-1  AA-8  -     AE-3  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt4   -     AA-1  AA-8  -     AE-4  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt5   AE-5  -     -     -     -     -     -     -     -     -     -     -     -
Evt6   -     AE-6  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
Evt7   -     -     AE-7  -     -     -     -     -     -     -     -     -     -
Evt8   -     -     AE-8  -     -     -     -     -     -     -     -     -     -
Evt9   -     -     -     -     -     DT-1  -     AR-7  -     -     -     -     -
Evt10  -     AA-1  AA-8  -     AA-8  DT-2  AR-6  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt11  -     -     -     -     -     AR-1  -     -     -     -     -     -     -
Evt12  -     AA-1  AA-8  -     AA-8  AR-2  AR-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-6
Evt13  -     AA-1  AA-8  -     AA-8  AA-8  AR-3  AA-8  AA-8  AR-10 AR-3  AA-8  AA-6
Evt14  -     -     -     -     -     -     -     AR-4  AR-9  -     -     AR-4  -
Evt15  -     -     AA-1  AA-2  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  AA-1  -
Evt16  -     AA-2  AA-3  -     AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-3  AA-2
Evt17  -     AA-5  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AA-4  AR-5
Evt18  -     AA-2  -     -     -     -     -     -     -     -     -     -     AA-2
Evt19  -     AA-1  AA-8  -     AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-8  AA-7
"""

NEXT_STATES = """
AE-1  Sta4   AE-2  Sta5   AE-3  Sta6   AE-4  Sta1   AE-5  Sta2   AE-6  Sta3   AE-7  Sta6   AE-8  Sta13
DT-1  Sta6   DT-2  Sta6   AR-1  Sta7   AR-2  Sta8   AR-3  Sta1   AR-4  Sta13  AR-5  Sta1   AR-6  Sta7
AR-7  Sta8   AR-8  Sta9   AR-9  Sta11  AR-10 Sta12  AA-1  Sta13  AA-2  Sta1   AA-3  Sta1   AA-4  Sta1
AA-5  Sta1   AA-6  Sta13  AA-7  Sta13  AA-8  Sta13
"""
"""Where each action leads. Two have a choice: AR-8 leads the acceptor to Sta10 (see `transition`). AE-6 leads
to Sta13 where the service provider itself rejects; here rejections go by Sta3 and AE-8, the same bytes."""


def _read(table: str, next_states: str) -> dict[tuple[State, Event], tuple[Action, State]]:
    words = next_states.split()
    leads_to = {Action(a): State[s] for a, s in zip(words[::2], words[1::2], strict=True)}
    heading, *rows = (line.split() for line in table.strip().splitlines())
    return {
        (State[column], Event[event]): (Action(cell), leads_to[Action(cell)])
        for event, *cells in rows
        for column, cell in zip(heading, cells, strict=True)
        if cell != "-"
    }


TRANSITIONS = _read(TABLE_9_10, NEXT_STATES)


def transition(state: State, event: Event, *, requestor: bool = True) -> tuple[Action, State] | None:
    """What an event means in a state: the action and the next state; None where the table's cell is empty."""
    found = TRANSITIONS.get((state, event))
    if found is not None and found[0] is Action.AR_8 and not requestor:
        return Action.AR_8, State.Sta10
    return found

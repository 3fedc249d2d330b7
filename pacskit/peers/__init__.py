"""Who is who, and who may do what."""

from pacskit.peers.address import PeerAddress
from pacskit.peers.permission import Verb, allowed_verbs

__all__ = ["PeerAddress", "Verb", "allowed_verbs"]

"""What a standby remembers of suspecting its master: whether it loads beforehand, and how often that was in vain."""

from dataclasses import dataclass


@dataclass(slots=True)
class Suspicion:
    """One standby's suspicion. ``judged_ns``: the moment of the claim after which silence was judged."""

    is_begun: bool = False
    began_ns: int = 0
    judged_ns: int = 0
    not_before_ns: int = 0
    vain: int = 0

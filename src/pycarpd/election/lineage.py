"""Of which mastership this host's files are: what makes their version comparable with another host's.

Theory of operation. A master says in its adverts of which lineage its files are and at which version that lineage left
the one before (its branch). A standby's files that end at or before the branch, in the lineage that was left, lead up
to the master's: its metalogger goes on with them, and once they have reached the branch they are of the master's
lineage. Files that go beyond the branch hold changes that were given up, and a metalogger would append the master's
changes to them without noticing: such a host is made a standby anew, with all its files archived, so that everything
comes from the master. Which it is can be told from the first look after the master is followed if that still ends
before the branch, and otherwise from a look just before, when nobody served.

Files with another metaid, or of a smaller version than was noted, are not those that were noted: somebody has put them
there, and nothing is known of their lineage. They are foreign to every master; those of a host on which none was ever
noted, because pycarpd has only come there, are believed to be what its metalogger has followed, unless they went beyond
the branch before the mastership began, or end beyond where an earlier lineage was left: whose end that is nobody knows.
Nor are files of a known lineage that shrink between two looks, that took the place of unreadable ones while another
lineage was followed, or to which a metalogger has added changes of a lineage that they are foreign to, or may have
added some: between two looks, or while the node was down, they have grown beyond the branch of a mastership that began
meanwhile. And where another was served in between, which this node has never heard and the master's files are not of,
nobody knows whether a metalogger has got changes from that one: such files do not lead up to the master's.
"""

from dataclasses import replace

from pycarpd.election.effects import StartDemotion
from pycarpd.election.events import FreshnessKnown, StandbyMade
from pycarpd.election.model import OLDER_MAX, Advert, Branch, Freshness, Lineage, Role
from pycarpd.election.node import Node
from pycarpd.election.standby import RETRY_MAX_NS, RETRY_NS, Files, Standby

QUIET_MAX_NS = 2_000_000_000
"""For how long a look from before a mastership says what is here; hosts look twice a second."""
HANDOVER_LAG_NS = 3_000_000_000
"""A standby that asks to take over has at least what the master had so long ago."""
SERVING_ROLES = (Role.MASTER, Role.SUSPENDED)


def follow(node: Node, advert: Advert, now_ns: int) -> None:
    """Begin to follow a mastership: what is here may have to make room for its files."""
    notice(node, advert, now_ns)
    node.standby.retry_ns = now_ns + RETRY_MAX_NS  # for a plan whose end is not heard of
    node.has_old_news = True
    node.emit(StartDemotion(advert.term, advert.node_id))


def notice(node: Node, advert: Advert, now_ns: int) -> None:
    """Note whose files this host's metalogger follows from now on, whether or not this node takes part."""
    is_recent = now_ns - node.quiet_ns <= QUIET_MAX_NS
    before, version = node.quiet if is_recent else None, node.standby.version
    if node.standby.is_known:
        node.peers.masterships.note_heard(advert.term)
    node.standby = Standby(advert.node_id, advert.term, before=before, version=version, is_known=node.standby.is_known)
    node.standby.heard(advert)
    node.quiet = None


def begin(node: Node) -> None:
    """Note that this host serves in a term of its own, from the files that it has promoted."""
    files, kept = node.promoted, node.persistent.lineage
    if files is None or kept.term == node.claimed_term:
        return
    begun = Lineage(node.claimed_term, files.metaid, files.version, kept.term, files.version, _ancestry(node))
    node.freshness = replace(files, lineage=node.claimed_term)
    node.persist(lineage=begun)


def on_files(node: Node, event: FreshnessKnown, now_ns: int) -> None:
    """Take in what a look at the files, or at the mfsmaster that serves here, has found."""
    node.why_not = event.why_not
    if node.role in SERVING_ROLES:
        _note_serving(node, event.freshness, now_ns)
    elif event.freshness is None:
        _note_unreadable(node, now_ns, has_files=event.has_files)
    else:
        _note_standing_by(node, event.freshness, now_ns)
    if node.is_master_lost or _is_settled(node.standby):
        node.has_old_news = False


def on_level(node: Node, version: int, now_ns: int) -> bool:
    """Take in what a successor's files prove now that its metalogger has written all it had, 0 if nothing.

    A look like any other: files that have reached the branch meanwhile are of the master's lineage. False if they turn
    out to be of another one: their version says nothing then, and they may be about to be put away.
    """
    if node.freshness is None:
        return False
    if not version:
        node.freshness = replace(node.freshness, version=0)
        return False
    _note_standing_by(node, replace(node.freshness, version=version), now_ns)
    theirs, own = node.standby.theirs, node.freshness.lineage
    return theirs is None or None in (theirs.lineage, own) or theirs.lineage == own


def has_nearly(node: Node, theirs: Freshness, now_ns: int) -> bool:
    """Tell, on a MASTER, whether a standby has nearly what is served here: a handover to it costs no waiting."""
    own = node.freshness
    if own is None or theirs.metaid != own.metaid or theirs.lineage not in (None, own.lineage):
        return False
    known = [version for at_ns, version in node.served_versions if at_ns <= now_ns - HANDOVER_LAG_NS]
    least = known[-1] if known else next((version for _, version in node.served_versions), own.version)
    return theirs.version >= least


def is_behind_standby(node: Node, now_ns: int) -> bool:
    """Tell whether a restart in place would give up what a standby has got and says that it has.

    mfsmaster writes its changelog after it has sent the change to the metaloggers: one that is killed may have told
    them more than its own files hold.
    """
    is_in_place = node.master_id == node.settings.node_id
    if not node.ready_version or not is_in_place:
        return False
    kept = node.persistent.lineage
    own = Freshness(kept.metaid, node.ready_version, lineage=kept.term)
    return node.peers.fresher_candidate(own, node.demotion(now_ns), now_ns, node.silence_ns()) is not None


def is_unsure(node: Node) -> bool:
    """Tell whether this host's files may be of the lineage that it follows, or may not: they are not judged yet."""
    return bool(node.standby.master_id) and not node.standby.is_made and node.standby.files is Files.UNJUDGED


def on_standby_made(node: Node, event: StandbyMade, now_ns: int) -> None:
    """Take in the end of the plan that was to make this host a standby; one that failed is tried again."""
    standby = node.standby
    if not standby.master_id or event.term != standby.term or node.role is not Role.BACKUP:
        return
    if not event.is_ok:
        standby.fail(now_ns)
        return
    standby.is_made, standby.retry_ns = True, None
    if event.has_archived:
        _expect_its_own(node)


def on_retry(node: Node, now_ns: int) -> None:
    """Try again to make this host a standby, as long as its master is there: without one the files may be needed."""
    standby = node.standby
    if not _is_followed(node) or node.master_id != standby.master_id:
        standby.retry_ns = now_ns + RETRY_NS
        return
    standby.retry_ns = None
    node.emit(StartDemotion(standby.term, standby.master_id, is_foreign=standby.files is Files.FOREIGN))


def _ancestry(node: Node) -> tuple[Branch, ...]:
    """Return where the lineage that is left now began, and those before it: of its master's telling, or one's own."""
    kept, standby = node.persistent.lineage, node.standby
    if standby.theirs is not None and standby.theirs.lineage == kept.term and standby.branch is not None:
        return (standby.branch, *standby.older)[:OLDER_MAX]
    return (kept.branch, *kept.older)[:OLDER_MAX] if kept.branch is not None else ()


def _is_settled(standby: Standby) -> bool:
    return standby.is_made and standby.files is not Files.FOREIGN


def _note_serving(node: Node, found: Freshness | None, now_ns: int) -> None:
    if found is None:  # what mfsmaster serves is of the lineage that it was promoted in, whatever becomes of its files
        return
    if not node.persistent.lineage.term:  # adopted, by a version that is the first to ask
        first = Lineage(node.claimed_term, found.metaid, found.version, 0, found.version)
        node.persist(lineage=first)
    node.freshness = replace(found, lineage=node.persistent.lineage.term)
    if node.role is Role.MASTER:
        node.served_versions.append((now_ns, found.version))


def _note_standing_by(node: Node, found: Freshness, now_ns: int) -> None:
    node.standby.unreadable_ns = 0
    kept, last_version = node.persistent.lineage, node.standby.version
    is_less = found.version < max(kept.version, last_version)
    node.standby.version = found.version if node.role in (Role.BACKUP, Role.FAULT) else 0  # else mfsmaster may write
    if kept.term and (found.metaid != kept.metaid or is_less):
        node.persist(lineage=Lineage(0, found.metaid, found.version))
        node.standby.files, node.standby.before = Files.UNJUDGED, None
    kept, theirs = node.persistent.lineage, node.standby.theirs
    node.standby.is_known |= theirs is not None and theirs.lineage == kept.term
    tagged = replace(found, lineage=_noted_lineage(node, found))
    if _is_quiet(node):
        node.quiet, node.quiet_ns = tagged, now_ns
    lineage = _followed_lineage(node, tagged)
    if node.standby.files is not Files.UNJUDGED:
        node.peers.masterships.note_heard(node.standby.term)
    if lineage and (lineage != kept.term or not kept.version):
        node.persist(lineage=Lineage(lineage, found.metaid, found.version))
        tagged = replace(tagged, lineage=lineage)
    elif node.standby.files is Files.FOREIGN and _may_be_of_both(node, last_version, found.version):
        node.persist(lineage=Lineage(0, found.metaid, found.version))
        tagged = replace(tagged, lineage=0)
    node.freshness = tagged


def _noted_lineage(node: Node, found: Freshness) -> int:
    """Return the lineage that was noted of such files, 0 if none was.

    Where nothing was here when it was noted, what has come since may be another master's, unless that one is followed;
    and what ends before the branch has not all come yet.
    """
    kept = node.persistent.lineage
    is_here = kept.version > 0 or node.standby.is_known
    return kept.term if is_here and found.version >= kept.branch_version else 0


def _may_be_of_both(node: Node, last_version: int, version: int) -> bool:
    """Tell whether foreign files may have grown by changes of the lineage that they are foreign to.

    Since the last look, or while this node was down: then what was noted on disk is all that is known to have been here
    before. Who has served in the noted lineage, or has followed it in this life, has seen what came of it.
    """
    kept, branch = node.persistent.lineage, node.standby.branch
    if not node.standby.is_known and branch is not None and max(kept.version, branch.version) < version:
        return True
    return 0 < last_version < version


def _note_unreadable(node: Node, now_ns: int, *, has_files: bool) -> None:
    """Note that files prove nothing: what comes in their place while another lineage is followed is of none known."""
    kept, standby = node.persistent.lineage, node.standby
    node.freshness, standby.version = None, 0
    standby.unreadable_ns = standby.unreadable_ns or now_ns
    theirs = standby.theirs.lineage if standby.theirs is not None else None
    is_other = standby.files is Files.UNJUDGED and theirs not in (None, kept.term)
    if kept.term and standby.master_id and is_other and now_ns - standby.unreadable_ns > QUIET_MAX_NS:
        node.persist(lineage=Lineage(0, kept.metaid, kept.version))
    if not has_files and standby.is_made and standby.files is not Files.ITS_OWN:
        _expect_its_own(node)


def _expect_its_own(node: Node) -> None:
    """Note that nothing is here, so that what comes is the master's: on disk too, if it is first looked at later."""
    standby, theirs = node.standby, node.standby.theirs
    standby.files, standby.version = Files.ITS_OWN, 0
    if theirs is not None and theirs.lineage is not None:
        left = standby.branch or Branch(0, 0)
        node.persist(lineage=Lineage(theirs.lineage, theirs.metaid, 0, left.lineage, left.version))


def _is_quiet(node: Node) -> bool:
    """Tell whether nobody serves as far as is known here: no metalogger has got anything lately."""
    master = node.peers.get(node.master_id)
    is_promoting = master is not None and master.advert is not None and master.advert.role is Role.PROMOTING
    hears_nobody = node.is_master_lost or (node.role is Role.FAULT and not node.master_id)
    return node.role in (Role.BACKUP, Role.FAULT) and (hears_nobody or is_promoting)


def _followed_lineage(node: Node, found: Freshness) -> int:
    """Judge the files against the master that is followed; return the lineage that they are of for sure, or 0."""
    standby, theirs = node.standby, node.standby.theirs
    if node.role not in (Role.BACKUP, Role.FAULT) or theirs is None or theirs.lineage is None:
        return 0
    if theirs.metaid != found.metaid:
        return 0
    if standby.files is Files.UNJUDGED:
        _judge(node, theirs.lineage, found)
    if standby.files is Files.ITS_OWN and standby.branch is None:
        return theirs.lineage
    has_arrived = standby.branch is not None and found.version >= standby.branch.version
    return theirs.lineage if standby.files in (Files.ITS_OWN, Files.LEAD_UP) and has_arrived else 0


def _is_followed(node: Node) -> bool:
    """Tell whether a plan makes, or has made, this host a standby of a master that is there."""
    return node.role is Role.BACKUP and bool(node.standby.master_id) and not node.is_master_lost


def _leads_up(node: Node, found: Freshness) -> bool:
    """Tell whether the files end where the followed lineage begins, or before: now, or in a look before it began."""
    before, branch = node.standby.before, node.standby.branch
    if not node.persistent.lineage.metaid:  # nothing was ever noted here: believed, but for what was beyond it before
        may_be_given_up = any(each.lineage and found.version > each.version for each in node.standby.older)
        return not may_be_given_up and (branch is None or before is None or before.version <= branch.version)
    if branch is None or _has_missed_one(node, branch):
        return False
    looks = [found] if before is None else [found, before]
    return any(each.lineage == branch.lineage and each.version <= branch.version for each in looks)


def _has_missed_one(node: Node, branch: Branch) -> bool:
    """Tell whether between the branch and the followed lineage a term was served whose master this node never heard.

    What that one wrote was given up; but a metalogger may have got some of it, and nobody has seen whose it was.
    """
    masterships, theirs = node.peers.masterships, node.standby.theirs
    if theirs is None or theirs.lineage is None or node.settings.asks_arbiter:  # which gives a new term to what runs
        return False
    return masterships.has_missed(branch.lineage, theirs.lineage)


def _judge(node: Node, lineage: int, found: Freshness) -> None:
    standby = node.standby
    if lineage in (found.lineage, node.persistent.lineage.term):
        standby.files = Files.ITS_OWN
    elif _leads_up(node, found):
        standby.files = Files.LEAD_UP
    elif standby.branch is not None and (standby.is_made or not _is_followed(node)):
        # Until it is made a standby, a former master's own files are about to be put away anyway.
        standby.files = Files.FOREIGN
    if standby.files is Files.FOREIGN and _is_followed(node):
        standby.is_made = False
        node.has_old_news = True
        node.emit(StartDemotion(standby.term, standby.master_id, is_foreign=True))

#!/usr/bin/env python3
"""Verifies an export of Keyledger's log, with nothing but Python's standard library.

    python3 tools/verify.py FILE --key PUB [--key PUB…] [--witness PUB…] [--checkpoint OLD] [--json]

FILE is made by `keyledger audit export`; its format and what is checked are described at the top of
src/audit/file/mod.rs. PUB is a verifier key of C2SP signed-note (`keyledger audit key` prints it), OLD a
file with an older checkpoint. Exit code 0: good; 1: tampered, naming the first bad position; 2: cannot tell.

It is a second verifier, written from that description: it shares no code with the first one.
"""

import argparse
import base64
import binascii
import datetime
import hashlib
import json
import re
import sys

TILE = 256


class Fault(Exception):
    """Why a file is not good."""

    def __init__(self, tampered, position, why):
        super().__init__(why)
        self.tampered, self.position, self.why = tampered, position, why


def bad(position, why):
    return Fault(True, position, why)


def unknown(why, position=None):
    return Fault(False, position, why)


# --- Ed25519, RFC 8032 section 5.1 -------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def point_add(a, b):
    """In extended coordinates: (X, Y, Z, T), x = X/Z, y = Y/Z, xy = T/Z."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return (w * x % P, y * z % P, x * y % P, w * z % P)


def point_times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = point_add(result, point)
        point = point_add(point, point)
        scalar >>= 1
    return result


def point_read(text):
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = point_read((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    key, head = point_read(public), point_read(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or head is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    left = point_times(scalar, BASE)
    right = point_add(head, point_times(int.from_bytes(digest, "little") % ORDER, key))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- Merkle trees, RFC 6962 section 2.1 and RFC 9162 section 2.1.3 ------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf_hash(data):
    return sha256(b"\x00" + data)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


def tree_root(hashes):
    """The root over hashes of leaves, or of whole subtrees of one size but the last."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256(b"")
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(tree_root(hashes[:split]), tree_root(hashes[split:]))


def root_by_path(index, size, leaf, path):
    """The root that an inclusion proof comes to; None where it is not as long as it must be."""
    if index >= size:
        return None
    place, last, value = index, size - 1, leaf
    for other in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            value = node_hash(other, value)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            value = node_hash(value, other)
        place, last = place >> 1, last >> 1
    return value if last == 0 else None


def extends(old_size, old_root, size, root, path):
    if old_size == size:
        return not path and old_root == root
    if not 0 < old_size < size:
        return False
    path = list(path)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    of_old = of_new = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            of_old, of_new = node_hash(other, of_old), node_hash(other, of_new)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            of_new = node_hash(of_new, other)
        place, last = place >> 1, last >> 1
    return last == 0 and of_old == old_root and of_new == root


# --- Signed notes, C2SP signed-note, tlog-checkpoint and tlog-cosignature -----------------------------------------


def unbase64(text):
    """Strictly: what is read is what would be written."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, UnicodeEncodeError, binascii.Error):
        return None
    return data if base64.b64encode(data).decode() == text else None


def is_name(text):
    strange = any(c.isspace() or c == "+" or ord(c) < 32 or 127 <= ord(c) < 160 for c in text)
    return bool(text) and not strange


class VerifierKey:
    def __init__(self, text):
        parts = text.strip().split("+", 2)
        value = unbase64(parts[2]) if len(parts) == 3 else None
        if value is None or len(value) != 33 or value[0] not in (1, 4) or not is_name(parts[0]):
            raise ValueError("is no verifier key of a signed note, name+id+base64, of Ed25519")
        self.name, self.kind, self.public = parts[0], value[0], value[1:]
        self.id = sha256(self.name.encode() + b"\n" + value)[:4]
        if self.id.hex() != parts[1]:
            raise ValueError("has another id than it says")


class Note:
    def __init__(self, note):
        strange = any(c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160) for c in note)
        cut = note.rfind("\n\n")
        if strange or len(note.encode()) > 65536 or cut < 0 or not note.endswith("\n"):
            raise ValueError("no signed note")
        self.text, lines = note[: cut + 1], note[cut + 2 : -1].split("\n")
        if len(lines) > 100:
            raise ValueError("too many signatures")
        self.signatures = []
        for line in lines:
            head, _, value = line.partition(" ")
            name, _, value = value.partition(" ")
            value = unbase64(value)
            if head != "\u2014" or not is_name(name) or value is None or len(value) < 5:
                raise ValueError("no signature")
            self.signatures.append((name, value[:4], value[4:]))

    def by(self, key):
        return [s for name, key_id, s in self.signatures if name == key.name and key_id == key.id]

    def witnessed_by(self, key):
        for signature in self.by(key):
            at = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {at}\n{self.text}".encode()
            if ed25519_verify(key.public, message, signature[8:]):
                return True
        return False


def read_checkpoint(text):
    lines = text.split("\n", 3)
    if len(lines) < 4 or not re.fullmatch(r"0|[1-9][0-9]*", lines[1], re.ASCII) or int(lines[1]) >= 1 << 64:
        raise ValueError("no checkpoint")
    root, more = unbase64(lines[2]), lines[3]
    whole = not more or (more.endswith("\n") and all(more[:-1].split("\n")))
    if not is_name(lines[0]) or root is None or len(root) != 32 or not whole:
        raise ValueError("no checkpoint")
    return lines[0], int(lines[1]), root


def signed_checkpoint(text, origin, keys, witnesses):
    """The size and root that were signed."""
    try:
        note = Note(text)
    except ValueError:
        raise bad(None, "the checkpoint is no signed note") from None
    known = False
    for key in (key for key in keys if key.name == origin):
        for signature in note.by(key):
            if not ed25519_verify(key.public, note.text.encode(), signature):
                raise bad(None, "the checkpoint's signature is not right")
            known = True
    if not known:
        raise bad(None, "the checkpoint is not signed by a key that was given")
    for witness in witnesses:
        if not note.witnessed_by(witness):
            raise unknown(f"the witness {witness.name} has not signed the checkpoint")
    try:
        told, size, root = read_checkpoint(note.text)
    except ValueError:
        raise bad(None, "the checkpoint is no signed note") from None
    if told != origin:
        raise bad(None, "the checkpoint is another log's")
    return size, root


# --- Events: their one canonical form -----------------------------------------------------------------------------

CREDITS_MAX = 9_000_000_000 * 1_000_000
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII)
CREDITS = re.compile(r"-?(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{0,5}[1-9])?", re.ASCII)
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII)
ENDPOINT = re.compile(r"[a-z][a-z0-9_.\-]{0,63}", re.ASCII)
COMMAND = re.compile(r"[A-Za-z0-9_.:\-]{1,128}", re.ASCII)
EPOCH = datetime.datetime(1970, 1, 1)


class NotCanonical(Exception):
    pass


def need(so, what):
    if not so:
        raise NotCanonical(what)


def micros(text):
    """An amount in micro-credits."""
    need(isinstance(text, str) and CREDITS.fullmatch(text) and text != "-0", "an amount")
    whole, _, fraction = text.lstrip("-").partition(".")
    amount = int(whole) * 1_000_000 + int((fraction + "000000")[:6])
    need(amount <= CREDITS_MAX, "an amount")
    return -amount if text.startswith("-") else amount


def moment(text):
    """Microseconds since 1970."""
    need(isinstance(text, str) and TIME.fullmatch(text), "a time")
    try:
        since = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ") - EPOCH
    except ValueError:
        raise NotCanonical("a time") from None
    # A leap second is none of ours, and strptime reads one.
    need(since.days >= 0 and text[17:19] <= "59", "a time")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def ident(prefix):
    def check(value):
        need(isinstance(value, str) and value.startswith(prefix) and ULID.fullmatch(value[len(prefix) :]), "an id")

    return check


def number(low=0, high=(1 << 64) - 1):
    def check(value):
        need(type(value) is int and low <= value <= high, "a number")

    return check


def pattern(regex):
    def check(value):
        need(isinstance(value, str) and regex.fullmatch(value), "a text")

    return check


def one_of(*words):
    def check(value):
        need(value in words, "a word")

    return check


def text(value):
    need(isinstance(value, str), "a text")


def truth(value):
    need(isinstance(value, bool), "true or false")


def free_text(longest):
    """What people write: its Unicode form was checked when it was written; here, that it is not empty and not long."""

    def check(value):
        need(isinstance(value, str) and value == value.strip() and 0 < len(value) <= longest, "a text")

    return check


def credits(value):
    micros(value)


def credits_or_left_out(value):
    need(micros(value) != 0, "an amount that is left out where it is nothing")


def time(value):
    moment(value)


def list_of(check, least=0):
    def check_all(value):
        need(isinstance(value, list) and len(value) >= least, "a list")
        for one in value:
            check(one)

    return check_all


def record(*members):
    """An object with these members in this order; those whose name ends with `?` may be left out."""
    members = [(name.rstrip("?"), name.endswith("?"), check) for name, check in members]

    def check(value):
        need(isinstance(value, dict), "an object")
        names = list(value)
        for name, optional, of_member in members:
            if names and names[0] == name:
                names.pop(0)
                of_member(value[name])
            else:
                need(optional, name)
        need(not names, "a member that is not known, or in another order")

    return check


def scopes(value):
    list_of(pattern(ENDPOINT), 1)(value)
    need(value == sorted(set(value)) and len(value) <= 64, "endpoints")


def quantity_of_price(value):
    need(isinstance(value, dict) and len(value) == 1 and set(value) <= {"header", "json"}, "a quantity")
    need(all(isinstance(where, str) for where in value.values()), "a quantity")


KEY, GRANT, RESERVATION = ident("key_"), ident("grant_"), ident("rsv_")
TEST_ONLY = one_of("test")
PART = record(("grant", GRANT), ("amount", credits))
PARTS = list_of(PART)
LEFT = one_of("early", "near-end")
NAME, REASON = free_text(80), free_text(200)
SOURCE = one_of("purchase", "plan", "promotion", "correction", "refund")
PRIORITY = number(-(1 << 31), (1 << 31) - 1)
SPENDING = record(("amount", credits), ("per", one_of("day", "month")))
PERIOD = record(("plan", ident("plan_")), ("number", number(0, (1 << 32) - 1)))
WORK = record(
    ("key?", KEY), ("channel", one_of("api", "dashboard")), ("endpoint", pattern(ENDPOINT)), ("unit_price", credits),
    ("price_version", number()), ("environment?", TEST_ONLY),
)
TERMS = record(
    ("grant", GRANT), ("amount", credits), ("priority", PRIORITY), ("expires_at?", time), ("source", SOURCE),
    ("granted_at", time), ("endpoints?", scopes),
)
RATE = record(("per_second", number(1, 1_000_000)), ("burst", number(1, 1_000_000)))
PRICE = record(
    ("endpoint", pattern(ENDPOINT)), ("match", text), ("price", credits), ("unit", text),
    ("quantity?", quantity_of_price), ("quantity_max?", number()), ("when_more?", text), ("once_per?", text),
    ("rate_per_second?", number()), ("rate_burst?", number()), ("settle?", text), ("upstream?", text),
)

DATA = {
    "AccountOpened": record(("name", NAME), ("external_ref?", text), ("credit_limit", credits)),
    "AccountRenamed": record(("name", NAME)),
    "ExternalRefChanged": record(("external_ref?", text)),
    "CreditLimitChanged": record(("credit_limit", credits)),
    "AccountClosed": record(("reason", REASON)),
    "KeyCreated": record(
        ("key", KEY), ("name", NAME), ("preview", text), ("digest", pattern(re.compile("[0-9a-f]{64}", re.ASCII))),
        ("environment", one_of("live", "test")), ("expires_at?", time), ("replaces?", KEY), ("scopes?", scopes),
        ("rate_limit?", RATE), ("spending_limit?", SPENDING),
    ),
    "KeyRenamed": record(("key", KEY), ("name", NAME)),
    "KeyDeleted": record(
        ("key", KEY),
        ("reason", one_of("requested", "compromised", "rotated", "expired", "leaked", "account-closed")),
    ),
    "KeyRotated": record(("key", KEY), ("successor", KEY), ("stops_at", time)),
    "KeySpendingLimited": record(("key", KEY), ("limit?", SPENDING)),
    "KeyUseDenied": record(
        ("key", KEY), ("reason", one_of("deleted", "expired", "scope", "no-credits", "spending-limit")),
        ("count", number()),
    ),
    "KeyUsed": record(
        ("key", KEY), ("endpoint", pattern(ENDPOINT)), ("reservation", RESERVATION), ("request?", text),
        ("network?", text), ("user_agent?", text), ("environment?", TEST_ONLY),
    ),
    "CreditsGranted": record(
        ("grant", GRANT), ("amount", credits), ("priority", PRIORITY), ("expires_at?", time), ("source", SOURCE),
        ("reference?", text), ("starts_at?", time), ("endpoints?", scopes), ("period?", PERIOD), ("rolled_over?", PART),
        ("reason?", REASON), ("repays?", credits_or_left_out),
    ),
    "GrantStarted": record(("grant", GRANT), ("amount", credits), ("repays?", credits_or_left_out)),
    "CreditsExpired": record(("grant", GRANT), ("amount", credits), ("repays?", credits_or_left_out)),
    "CreditsReserved": record(
        ("reservation", RESERVATION), ("work", WORK), ("quantity", number()), ("amount", credits), ("from", PARTS),
        ("on_limit?", credits_or_left_out), ("expires_at", time),
        ("once?", pattern(re.compile("[0-9a-f]{32}", re.ASCII))),
    ),
    "CreditsCharged": record(
        ("reservation", RESERVATION), ("work", WORK), ("quantity", number()), ("charged", credits),
        ("returned", credits), ("spent", PARTS), ("returned_to", PARTS), ("charged_on_limit?", credits_or_left_out),
        ("returned_to_limit?", credits_or_left_out), ("reserved_at", time), ("client_left?", LEFT),
    ),
    "CreditsReleased": record(
        ("reservation", RESERVATION), ("work", WORK), ("returned", credits), ("returned_to", PARTS),
        ("returned_to_limit?", credits_or_left_out),
        ("cause", one_of("requested", "queued", "error", "client-gone", "expired", "account-closed")),
        ("reserved_at", time), ("client_left?", LEFT),
    ),
    "CreditsRefunded": record(
        ("refund", ident("refund_")), ("reservation", RESERVATION), ("work", WORK), ("amount", credits),
        ("reason", REASON), ("returned_to", PARTS), ("reopened?", list_of(TERMS, 1)),
        ("repays?", credits_or_left_out), ("as_grant?", PART), ("charged_at", time),
    ),
    "CreditsCorrected": record(
        ("correction", ident("corr_")), ("amount", credits), ("from", PARTS), ("on_limit?", credits_or_left_out),
        ("reason", REASON),
    ),
    "PlanStarted": record(
        ("plan", ident("plan_")), ("amount", credits), ("period", one_of("day", "week", "month")), ("starts_at", time),
        ("rollover_cap?", credits_or_left_out),
    ),
    "PlanEnded": record(("plan", ident("plan_"))),
    "ThresholdsSet": record(("thresholds", list_of(credits))),
    "ThresholdReached": record(("threshold", credits), ("balance", credits)),
    "PricesPublished": record(("version", number()), ("valid_from", time), ("prices", list_of(PRICE))),
    "TokenCreated": record(
        ("token", ident("tok_")), ("role", one_of("operator", "metering", "billing", "auditor")), ("name", NAME)
    ),
    "TokenRevoked": record(("token", ident("tok_")), ("name", NAME)),
    "PortalSessionInvited": record(("session", ident("ses_")), ("name?", NAME), ("read_only", truth)),
    "OperatorSessionInvited": record(("session", ident("ses_")), ("name?", NAME)),
    "PersonalDataErased": record(("reason?", REASON)),
}
# In the history of the system itself, which is no customer's.
OF_ALL = {"PricesPublished", "TokenCreated", "TokenRevoked", "OperatorSessionInvited"}


def actor(value):
    need(isinstance(value, str), "an actor")
    if value != "system":
        ident(value[:4] if value[:4] in ("key_", "tok_", "ses_") else "tok_")(value)


ENVELOPE = record(
    ("specversion", one_of("1.0")), ("id", ident("")),
    ("source", pattern(re.compile(r"/keyledger/shards/(?:0|[1-9][0-9]{0,4})", re.ASCII))), ("type", text),
    ("subject", ident("acct_")), ("time", time), ("datacontenttype", one_of("application/json")),
    ("position", number(1)), ("accountseq", number(1)), ("actor", actor), ("commandid", pattern(COMMAND)),
    ("sealed?", pattern(re.compile("[A-Za-z0-9_-]{1,65536}", re.ASCII))),
    ("data", lambda value: need(isinstance(value, dict), "data")),
)


def no_repeats(pairs):
    members = dict(pairs)
    need(len(members) == len(pairs), "a member twice")
    return members


def whole_numbers_only(_):
    raise NotCanonical("a number with a fraction")


def read_json(line):
    """JSON whose numbers are whole and whose members are there once."""
    try:
        return json.loads(
            line.decode("utf-8"), object_pairs_hook=no_repeats, parse_float=whole_numbers_only,
            parse_constant=whole_numbers_only,
        )
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise NotCanonical("no JSON") from None


def read_event(line, position):
    """The event of a line, whose every byte is the one that the format has there."""
    try:
        event = read_json(line)
        need(isinstance(event, dict) and isinstance(event.get("type"), str), "no event")
        name = event["type"]
        short = name[len("keyledger.") : -len(".v1")]
        if not (name.startswith("keyledger.") and name.endswith(".v1") and short in DATA):
            ENVELOPE(event)
            raise unknown(f"an event of a type that is not known, {name}", position)
        ENVELOPE(event)
        DATA[short](event["data"])
        need(int(event["source"].rpartition("/")[2]) < 1 << 16, "a shard")
        again = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        need(again.encode("utf-8", "surrogatepass") == line, "other bytes than the canonical ones")
    except NotCanonical as error:
        raise bad(position, f"its bytes are not canonical: {error}") from None
    return short, event


# --- The books ----------------------------------------------------------------------------------------------------

SYSTEM = "acct_" + "0" * 26
SUMS = ("granted", "charged", "refunded", "expired", "reserved", "corrected")
I64 = (1 << 63) - 1


class Wrong(Exception):
    """Why an event cannot stand where it does."""


def must(so, why):
    if not so:
        raise Wrong(why)


def parts_of(members):
    return [(part["grant"], micros(part["amount"])) for part in members]


def amount_of(data, member):
    return micros(data[member]) if member in data else 0


def moment_of(data, member):
    return moment(data[member]) if member in data else None


def is_sum(whole, parts, on_limit):
    must(all(amount > 0 for _, amount in parts), "a part of a grant is nothing")
    total = on_limit + sum(amount for _, amount in parts)
    must(on_limit >= 0 and whole >= 0 and total == whole, "an amount comes from or goes to other places than it says")


def beside(reservation):
    """The id that a top-up beside a hold has: the same time, and the other bits turned."""
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    head, tail = reservation[:14], reservation[14:]
    return head + "".join(alphabet[31 - alphabet.index(c)] for c in tail)


class Account:
    def __init__(self, first_seq, of_key, is_birth):
        self.of_key = of_key
        self.whole = not of_key and first_seq == 1
        # Nothing is missing of what its keys and holds are.
        self.knows_holds = is_birth if of_key else self.whole
        self.seq = first_seq - 1
        self.opened = self.closed = self.erased = False
        self.credit_limit = self.owed = self.held_on_limit = 0
        self.sums = dict.fromkeys(SUMS, 0)
        self.keys, self.grants, self.open, self.settled, self.plans = {}, {}, {}, {}, {}
        self.free = 0

    def add(self, name, amount):
        self.sums[name] += amount
        must(abs(self.sums[name]) <= I64, "a sum leaves its bounds")

    def missing(self, why):
        """What is not there was never there, or lies before the file's beginning."""
        must(not self.knows_holds, why)

    def available(self):
        return self.free - self.owed - self.held_on_limit

    # Keys

    def know_key(self, key):
        if key not in self.keys:
            self.missing("the account has no such key")

    def is_dead(self, key, at):
        key = self.keys.get(key)
        if key is None:
            return False
        return key["deleted"] or any(key[end] is not None and key[end] <= at for end in ("expires_at", "stops_at"))

    def KeyCreated(self, data, at):
        must(not self.closed, "a key is made in a closed account")
        must(data["key"] not in self.keys, "the key is there already")
        self.keys[data["key"]] = {
            "expires_at": moment_of(data, "expires_at"), "stops_at": None, "deleted": False,
            "scopes": data.get("scopes"),
        }

    def KeyRenamed(self, data, at):
        self.know_key(data["key"])

    KeySpendingLimited = KeyUseDenied = KeyRenamed

    def KeyDeleted(self, data, at):
        self.know_key(data["key"])
        key = self.keys.setdefault(
            data["key"], {"expires_at": None, "stops_at": None, "deleted": False, "scopes": None}
        )
        must(not key["deleted"], "the key is deleted already")
        key["deleted"] = True

    def KeyRotated(self, data, at):
        if not self.of_key:
            self.know_key(data["successor"])
        self.know_key(data["key"])
        key = self.keys.get(data["key"])
        if key is not None:
            must(not key["deleted"] and key["stops_at"] is None, "the key is deleted or rotated already")
            key["stops_at"] = moment(data["stops_at"])

    def KeyUsed(self, data, at):
        must(not self.closed, "a key of a closed account is used")
        self.know_key(data["key"])
        must(not self.is_dead(data["key"], at), "a key is used that is deleted or over")
        allowed = self.keys.get(data["key"], {}).get("scopes")
        must(allowed is None or data["endpoint"] in allowed, "a key is used for an endpoint that it is not for")

    # The account

    def limit(self, data):
        self.credit_limit = micros(data["credit_limit"])
        must(self.credit_limit >= 0, "a credit limit is below zero")

    def AccountOpened(self, data, at):
        self.opened = True
        self.limit(data)

    def CreditLimitChanged(self, data, at):
        self.limit(data)

    def AccountClosed(self, data, at):
        must(not self.closed, "the account is closed already")
        self.closed = True

    def AccountRenamed(self, data, at):
        pass

    ExternalRefChanged = ThresholdsSet = ThresholdReached = PortalSessionInvited = AccountRenamed

    def PersonalDataErased(self, data, at):
        must(not self.erased, "personal data is erased already")
        self.erased = True

    def PlanStarted(self, data, at):
        must(data["plan"] not in self.plans, "the plan is there already")
        self.plans[data["plan"]] = 0

    def PlanEnded(self, data, at):
        if data["plan"] in self.plans:
            must(self.plans[data["plan"]] is not None, "the plan has ended already")
        else:
            self.missing("the account has no such plan")
        self.plans[data["plan"]] = None

    # Grants

    def grant(self, grant):
        must(grant in self.grants, "the account has no such grant, or nothing is left of it")
        return self.grants[grant]

    def is_for_all(self, grant):
        return grant["starts_at"] is None and grant["endpoints"] is None

    def move(self, grant_id, remaining, held):
        grant = self.grant(grant_id)
        grant["remaining"] += remaining
        grant["held"] += held
        must(grant["remaining"] >= 0 and grant["held"] >= 0, "more is taken of a grant than is left or held of it")
        if self.is_for_all(grant):
            self.free += remaining
        if grant["remaining"] == grant["held"] == 0:
            del self.grants[grant_id]

    def give(self, grant_id, remaining, expires_at=None, starts_at=None, endpoints=None):
        must(grant_id not in self.grants, "the grant is there already")
        grant = {
            "expires_at": expires_at, "starts_at": starts_at, "endpoints": endpoints, "remaining": remaining, "held": 0,
        }
        if self.is_for_all(grant):
            self.free += remaining
        if remaining > 0:
            self.grants[grant_id] = grant

    def repay(self, amount):
        self.owed -= amount
        must(self.owed >= 0 and amount >= 0, "more is repaid than is owed")

    def CreditsGranted(self, data, at):
        amount = micros(data["amount"])
        must(amount > 0, "a grant of nothing")
        rolled = amount_of(data.get("rolled_over", {}), "amount")
        must(0 <= rolled <= amount, "more rolls over than is granted")
        self.add("granted", amount - rolled)
        if not self.whole:
            return
        period = data.get("period")
        if period is not None:
            given = self.plans.get(period["plan"])
            must(given is not None and given + 1 == period["number"], "a period of a plan is given twice or left out")
            self.plans[period["plan"]] = period["number"]
        if "rolled_over" in data:
            self.move(data["rolled_over"]["grant"], -rolled, 0)
        repays = amount_of(data, "repays")
        self.repay(repays)
        must(repays <= amount, "more is repaid than granted")
        self.give(
            data["grant"], amount - repays, moment_of(data, "expires_at"), moment_of(data, "starts_at"),
            data.get("endpoints"),
        )

    def GrantStarted(self, data, at):
        if not self.whole:
            return
        grant = self.grant(data["grant"])
        start, grant["starts_at"] = grant["starts_at"], None
        must(start is not None and start <= at, "a grant takes effect twice, or before its time")
        if self.is_for_all(grant):
            self.free += grant["remaining"]
        repays = amount_of(data, "repays")
        self.repay(repays)
        self.move(data["grant"], -repays, 0)

    def CreditsExpired(self, data, at):
        amount = micros(data["amount"])
        must(amount >= 0, "less than nothing expires")
        self.add("expired", amount)
        if not self.whole:
            return
        end = self.grant(data["grant"])["expires_at"]
        must(end is not None and end <= at, "a grant expires before its time")
        repays = amount_of(data, "repays")
        self.repay(repays)
        self.move(data["grant"], -amount - repays, 0)

    def within_limit(self, taken):
        must(taken <= 0 or self.available() + self.credit_limit >= 0, "more is spent than the account has")

    # Holds

    def is_known(self, reservation):
        return reservation in self.open or reservation in self.settled

    def may_be_top_up(self, reservation):
        return not self.knows_holds or self.is_known(beside(reservation))

    def CreditsReserved(self, data, at):
        must(not self.closed, "credits are held in a closed account")
        work, amount, price = data["work"], micros(data["amount"]), micros(data["work"]["unit_price"])
        at_price = data["quantity"] > 0 and price * data["quantity"] == amount
        must(at_price, "what is held is not the quantity at its price")
        test = work.get("environment") == "test"
        must(price >= 0 and not (test and amount), "a price is below zero, or a trial has one")
        expires_at = moment(data["expires_at"])
        must(expires_at > at, "a hold ends before it begins")
        parts, on_limit = parts_of(data["from"]), amount_of(data, "on_limit")
        is_sum(amount, parts, on_limit)
        reservation = data["reservation"]
        if "key" in work:
            self.know_key(work["key"])
            # Work that is done is charged at once, also when the key was deleted meanwhile: what came beyond a hold.
            at_once = expires_at <= at + 1_000_000
            must(at_once or not self.is_dead(work["key"], at), "credits are held by a key that is deleted or over")
        must(not self.is_known(reservation), "the reservation is there already")
        if self.whole:
            of_all = on_limit
            for grant_id, part in parts:
                grant = self.grant(grant_id)
                usable = grant["starts_at"] is None and (grant["expires_at"] is None or grant["expires_at"] > at)
                must(usable, "credits are held of a grant whose time is over or has not come")
                if grant["endpoints"] is None:
                    of_all += part
                else:
                    must(work["endpoint"] in grant["endpoints"], "credits are held of a grant for other endpoints")
                self.move(grant_id, -part, part)
            self.held_on_limit += on_limit
            self.within_limit(of_all)
        self.add("reserved", amount)
        self.open[reservation] = {
            "work": work, "quantity": data["quantity"], "amount": amount, "from": dict(parts), "parts": len(parts),
            "on_limit": on_limit, "at": at, "expires_at": expires_at,
        }

    def close(self, data):
        """The hold that is settled; None where the file does not have it."""
        reservation = data["reservation"]
        hold = self.open.pop(reservation, None)
        if hold is None:
            must(reservation not in self.settled, "a hold is settled twice")
            self.missing("nothing is held under this reservation")
        else:
            same = hold["work"].get("key") == data["work"].get("key") and all(
                hold["work"].get(member) == data["work"].get(member)
                for member in ("endpoint", "unit_price", "price_version", "environment")
            )
            must(same and hold["at"] == moment(data["reserved_at"]), "other work is settled than was held for")
        return hold

    def let_go(self, spent, returned, on_limit, returned_to_limit):
        if not self.whole:
            return
        for grant, amount in spent:
            self.move(grant, 0, -amount)
        for grant, amount in returned:
            self.move(grant, amount, -amount)
        self.held_on_limit -= on_limit + returned_to_limit
        must(self.held_on_limit >= 0, "more of the credit limit is let go than is held")
        self.owed += on_limit

    def CreditsCharged(self, data, at):
        charged, returned = micros(data["charged"]), micros(data["returned"])
        must(
            micros(data["work"]["unit_price"]) * data["quantity"] == charged,
            "what is charged is not the quantity at its price",
        )
        spent, returned_to = parts_of(data["spent"]), parts_of(data["returned_to"])
        on_limit, returned_to_limit = amount_of(data, "charged_on_limit"), amount_of(data, "returned_to_limit")
        is_sum(charged, spent, on_limit)
        is_sum(returned, returned_to, returned_to_limit)
        hold = self.close(data)
        if hold is not None:
            must(at < hold["expires_at"], "a hold is charged after its end")
            divided = (
                charged + returned == hold["amount"]
                and on_limit + returned_to_limit == hold["on_limit"]
                and data["quantity"] <= hold["quantity"]
                and is_divided(hold, spent, returned_to)
            )
            must(divided, "charged and returned are not what was held")
        self.let_go(spent, returned_to, on_limit, returned_to_limit)
        self.add("reserved", -charged - returned)
        self.add("charged", charged)
        self.settled[data["reservation"]] = [charged, 0]

    def CreditsReleased(self, data, at):
        returned, returned_to = micros(data["returned"]), parts_of(data["returned_to"])
        returned_to_limit = amount_of(data, "returned_to_limit")
        is_sum(returned, returned_to, returned_to_limit)
        hold = self.close(data)
        if hold is not None:
            must(data["cause"] != "expired" or at >= hold["expires_at"], "a hold is over before its end")
            whole = returned == hold["amount"] and returned_to_limit == hold["on_limit"]
            must(whole and is_divided(hold, [], returned_to), "what returns is not what was held")
        self.let_go([], returned_to, 0, returned_to_limit)
        self.add("reserved", -returned)
        self.settled[data["reservation"]] = [0, 0]

    def CreditsRefunded(self, data, at):
        amount = micros(data["amount"])
        must(amount > 0, "a refund of nothing")
        returned_to, repays = parts_of(data["returned_to"]), amount_of(data, "repays")
        as_grant = amount_of(data.get("as_grant", {}), "amount")
        is_sum(amount, returned_to, repays + as_grant)
        settled = self.settled.get(data["reservation"])
        if settled is None:
            self.missing("what is refunded was never charged")
        else:
            settled[1] += amount
            must(settled[1] <= settled[0], "more is refunded than was charged")
        self.add("refunded", amount)
        if not self.whole:
            return
        for terms in data.get("reopened", []):
            if terms["grant"] not in self.grants:
                self.grants[terms["grant"]] = {
                    "expires_at": moment_of(terms, "expires_at"), "starts_at": None,
                    "endpoints": terms.get("endpoints"), "remaining": 0, "held": 0,
                }
        for grant, part in returned_to:
            self.move(grant, part, 0)
        self.repay(repays)
        if "as_grant" in data:
            must(as_grant > 0, "a part of a grant is nothing")
            self.give(data["as_grant"]["grant"], as_grant)

    def CreditsCorrected(self, data, at):
        amount, parts, on_limit = micros(data["amount"]), parts_of(data["from"]), amount_of(data, "on_limit")
        is_sum(amount, parts, on_limit)
        self.add("corrected", amount)
        if not self.whole:
            return
        of_all = on_limit
        for grant_id, part in parts:
            if grant_id in self.grants and self.is_for_all(self.grants[grant_id]):
                of_all += part
            self.move(grant_id, -part, 0)
        self.owed += on_limit
        self.within_limit(of_all)


def is_divided(hold, spent, returned):
    """What was taken from each grant is spent or returned, and nothing else is."""
    first_spent, first_returned = {}, {}
    for grant, amount in spent:
        first_spent.setdefault(grant, amount)
    for grant, amount in returned:
        first_returned.setdefault(grant, amount)
    named = sum((grant in first_spent) + (grant in first_returned) for grant in hold["from"])
    return (
        hold["parts"] == len(hold["from"])
        and all(
            first_spent.get(grant, 0) + first_returned.get(grant, 0) == amount for grant, amount in hold["from"].items()
        )
        and named == len(spent) + len(returned)
    )


class Books:
    def __init__(self, head):
        self.shard, self.scope = head["shard"], head["scope"]
        self.from_the_first = "shard" in self.scope and head["first"] == 1
        self.time, self.accounts, self.prices, self.unknown_prices, self.judged_prices = 0, {}, [], 0, 0

    def publish(self, position, event):
        data, at = event["data"], moment(event["time"])
        if self.prices:
            must(data["version"] == self.prices[-1]["version"] + 1, "the price book's version is not the next one")
        else:
            must(not self.from_the_first or data["version"] == 1, "the first price book's version is not 1")
        must(moment(data["valid_from"]) >= at, "a price book holds before it was published")
        of_endpoint = {}
        for price in data["prices"]:
            of_endpoint.setdefault(price["endpoint"], set()).add(micros(price["price"]))
        self.prices.append({
            "position": position, "version": data["version"], "valid_from": moment(data["valid_from"]),
            "prices": of_endpoint,
        })

    def judge(self, position, at, data, top_up):
        """Whether a hold is at the price of the book that holds. One beside another hold keeps that one's book."""
        work = data["work"]
        version, price = work["price_version"], micros(work["unit_price"])
        published = [book for book in self.prices if book["position"] < position]
        in_force = max((book["version"] for book in published if book["valid_from"] <= at), default=0)
        book = next((book for book in published if book["version"] == version), None)
        from_the_first = self.from_the_first or (self.prices and self.prices[0]["version"] == 1)
        if from_the_first and not top_up and (version == 0 or book is not None):
            must(in_force == version, "the price is of a book that does not hold")
        if book is None:
            must(version == 0 or not self.from_the_first, "the price is of a book that was never published")
            self.unknown_prices += 1
            return
        self.judged_prices += 1
        free = price == 0 and (work.get("environment") == "test" or "once" in data)
        must(free or price in book["prices"].get(work["endpoint"], ()), "the price is not the book's")

    def is_about(self, name, event):
        must(event["source"] == f"/keyledger/shards/{self.shard}", "the event is another shard's")

    def enter_prices(self, position, name, event):
        self.is_about(name, event)
        must(name == "PricesPublished" and event["subject"] == SYSTEM, "what is brought for its prices publishes none")
        self.publish(position, event)

    def enter(self, position, name, event):
        self.is_about(name, event)
        data, at, account_id = event["data"], moment(event["time"]), event["subject"]
        if "account" in self.scope:
            must(account_id == self.scope["account"], "the event is another account's")
        if "key" in self.scope:
            key = data.get("key") or data.get("work", {}).get("key")
            must(key == self.scope["key"], "the event is not about this key")
        must(at >= self.time, "its time is before that of the event before")
        self.time = at
        account = self.accounts.get(account_id)
        if account is None:
            of_key = "key" in self.scope and account_id != SYSTEM
            account = self.accounts[account_id] = Account(event["accountseq"], of_key, name == "KeyCreated")
        seq = event["accountseq"]
        follows = seq > account.seq if account.of_key else seq == account.seq + 1
        must(follows, "its seq is not the next one of its account")
        of_all = name in OF_ALL
        must(of_all == (account_id == SYSTEM), "it belongs to the other kind of history")
        if not of_all and account.whole:
            must(account.opened != (name == "AccountOpened"), "an account is opened first, and once")
        account.seq = seq
        if of_all:
            if name == "PricesPublished":
                self.publish(position, event)
            return
        if name == "CreditsReserved":
            self.judge(position, at, data, account.may_be_top_up(data["reservation"]))
        getattr(account, name)(data, at)

    def customers(self):
        return {account_id: account for account_id, account in self.accounts.items() if account_id != SYSTEM}

    def not_checked(self):
        told = []
        parts = sum(not account.whole and not account.of_key for account in self.customers().values())
        if any(account.of_key for account in self.customers().values()):
            told.append("balances and grants: a key's events are not its account's whole history")
        if parts:
            told.append(
                "balances, grants and what began before: "
                f"the file does not have the beginning of {parts} account(s)"
            )
        if self.unknown_prices:
            told.append(
                f"the prices of {self.unknown_prices} hold(s), "
                "whose book is the config file's or not in this file"
            )
        if self.judged_prices and not self.from_the_first:
            told.append(
                f"that no price book was left out, for {self.judged_prices} hold(s): only a whole shard shows it"
            )
        return told


# --- The file -----------------------------------------------------------------------------------------------------


def is_u64(value):
    return type(value) is int and 0 <= value < 1 << 64


def read_hash(value):
    data = unbase64(value) if isinstance(value, str) else None
    if data is None or len(data) != 32:
        raise unknown("a line of the format cannot be read")
    return data


def read_path(line):
    path = line.get("path")
    if not isinstance(path, list):
        raise unknown("a line of the format cannot be read")
    return [read_hash(value) for value in path]


def read_scope(scope, shard):
    account, key = scope.get("account"), scope.get("key")
    try:
        if account is not None:
            ident("acct_")(account)
            if key is not None:
                ident("key_")(key)
                return {"account": account, "key": key}
            return {"account": account}
    except NotCanonical:
        return None
    return {"shard": shard} if scope.get("shard") == shard and type(scope.get("shard")) is int else None


def read_head(line):
    strange = unknown("the first line is not the head of an export")
    try:
        head = read_json(line)
        need(isinstance(head, dict) and head.get("keyledger") == "export/1", "head")
        need(isinstance(head.get("origin"), str) and isinstance(head.get("checkpoint"), str), "texts")
        need(is_u64(head.get("shard")) and head["shard"] < 1 << 16 and isinstance(head.get("scope"), dict), "scope")
        need(is_u64(head.get("first")) and is_u64(head.get("last")), "positions")
        need(all(head.get(end) is None or isinstance(head[end], str) for end in ("from", "to")), "range")
        need(isinstance(head.get("made_at"), str), "time")
    except NotCanonical:
        raise strange from None
    head["scope"] = read_scope(head["scope"], head["shard"])
    if head["scope"] is None or head["first"] == 0 or head["last"] < head["first"]:
        raise strange
    return head


class Chain:
    """From each line to the signed checkpoint."""

    def __init__(self, line, keys, witnesses, older):
        self.head = head = read_head(line)
        self.size, self.root = signed_checkpoint(head["checkpoint"], head["origin"], keys, witnesses)
        if self.size < head["last"]:
            raise bad(None, "the checkpoint does not cover the last position")
        self.of_shard = "shard" in head["scope"]
        self.older = self.leaves = None
        self.extends = True
        if older is not None:
            self.begin_older(older, keys)
        self.ours = hashlib.sha256(line + b"\n")
        self.events, self.at, self.last_book = 0, head["first"] - 1, 0
        self.begin, self.hashes, self.expected, self.proof, self.ended = None, [], [], None, False

    def begin_older(self, older, keys):
        try:
            size, root = signed_checkpoint(older, self.head["origin"], keys, [])
        except Fault:
            raise unknown("the older checkpoint is not one of this log by a key that was given") from None
        if size > self.size:
            raise unknown("the older checkpoint is the later one")
        if size == self.size and root != self.root:
            raise bad(None, "two checkpoints of one size have two roots")
        self.older, self.extends = (size, root), size == self.size
        if self.of_shard and self.head["first"] == 1 and self.head["last"] >= size:
            # Roots of whole tiles, and the leaves of the one that the older tree ends in.
            self.leaves = ([], [])

    def take(self, line):
        """(position, for prices) of an event; None of another line."""
        if self.ended:
            raise unknown("something stands behind the last line")
        if not line.startswith(b'{"keyledger":'):
            return self.event(line)
        if self.proof is not None:
            raise bad(self.proof[0], "the event is missing")
        try:
            ours = read_json(line)
        except NotCanonical:
            raise unknown("a line of the format cannot be read") from None
        kinds = {"tile": self.tile, "proof": self.prove, "consistency": self.consistency, "end": self.end}
        kind = ours.get("keyledger") if isinstance(ours, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise unknown("a line of a kind that is not known")
        kinds[kind](ours)
        self.ours.update(line + b"\n")
        return None

    def event(self, line):
        leaf = leaf_hash(line)
        if self.proof is not None:
            (position, path, for_prices), self.proof = self.proof, None
            good = root_by_path(position - 1, self.size, leaf, path) == self.root
        else:
            for_prices = False
            if self.of_shard:
                position = self.at + 1
                if position > self.head["last"]:
                    raise bad(position, "an event beyond the last position")
            elif self.expected:
                position = self.expected.pop(0)
            else:
                raise bad(None, "a line that no proof is for")
            good = self.leaf(position) == leaf
        if not good:
            raise bad(position, "the event is not the one that was signed")
        self.events += 1
        if for_prices:
            self.last_book = position
        else:
            self.at = position
        return position, for_prices

    def leaf(self, position):
        if self.begin is None or not 0 <= position - 1 - self.begin < len(self.hashes):
            return None
        return self.hashes[position - 1 - self.begin]

    def nothing_is_missing(self):
        if self.of_shard:
            missing = self.at + 1
            if self.leaf(missing) is None or missing > self.head["last"]:
                return
        elif self.expected:
            missing = self.expected[0]
        else:
            return
        raise bad(missing, "the event is missing")

    def begins_at(self, position):
        if self.at < self.head["first"] and position != self.head["first"]:
            raise bad(self.head["first"], "the event is missing")

    def tile(self, line):
        index, at = line.get("index"), line.get("at")
        hashes = unbase64(line["hashes"]) if isinstance(line.get("hashes"), str) else None
        path = read_path(line)
        at_is_list = at is None or (isinstance(at, list) and all(is_u64(p) for p in at))
        if not is_u64(index) or hashes is None or len(hashes) % 32 or not at_is_list:
            raise unknown("a line of the format cannot be read")
        self.nothing_is_missing()
        if self.of_shard and at is None:
            first = self.at + 1
        elif not self.of_shard and at and at[0] > self.at:
            first = at[0]
        else:
            raise unknown("a tile's positions are not the scope's")
        self.begins_at(first)
        begin = index * TILE
        if begin >= self.size or (first - 1) // TILE != index:
            raise bad(first, "its tile is missing")
        hashes = [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
        width, tiles = min(TILE, self.size - begin), -(-self.size // TILE)
        root = tree_root(hashes)
        if len(hashes) != width or root_by_path(index, tiles, root, path) != self.root:
            raise bad(first, "the hashes of its tile are not those that were signed")
        if at is not None:
            rising = all(one < following for one, following in zip(at, at[1:]))
            if not rising or at[-1] > begin + width or at[-1] > self.head["last"]:
                raise unknown("a tile's positions are not its own")
            self.expected = list(at)
        self.grow(hashes, root)
        self.begin, self.hashes = begin, hashes

    def grow(self, hashes, root):
        if self.leaves is None:
            return
        tiles, rest = self.leaves
        wanted = self.older[0] - TILE * len(tiles) - len(rest)
        if wanted <= 0:
            return
        if wanted >= TILE and len(hashes) == TILE:
            tiles.append(root)
        else:
            rest.extend(hashes[:wanted])
        if self.older[0] == TILE * len(tiles) + len(rest):
            of_leaves = tree_root(tiles + ([tree_root(rest)] if rest else []))
            if of_leaves != self.older[1]:
                raise bad(None, "the older checkpoint is of another history")
            self.extends = True

    def prove(self, line):
        position, purpose, path = line.get("position"), line.get("for"), read_path(line)
        if not is_u64(position) or not (purpose is None or isinstance(purpose, str)):
            raise unknown("a line of the format cannot be read")
        self.nothing_is_missing()
        if purpose == "prices":
            before_all = self.begin is None and self.at == self.head["first"] - 1
            end = self.head["first"] - 1 if self.of_shard else self.head["last"]
            follows = before_all and self.last_book < position <= end
        else:
            follows = purpose is None and not self.of_shard and self.at < position <= self.head["last"]
        if not follows or not 0 < position <= self.size:
            raise unknown("a proof that is not the scope's")
        if purpose is None:
            self.begins_at(position)
        self.proof = (position, path, purpose is not None)

    def consistency(self, line):
        path = read_path(line)
        if not is_u64(line.get("from")):
            raise unknown("a line of the format cannot be read")
        if self.older is None or self.older[0] != line["from"]:
            return
        if not extends(*self.older, self.size, self.root, path):
            raise bad(None, "the older checkpoint is of another history")
        self.extends = True

    def end(self, line):
        if not is_u64(line.get("events")) or not isinstance(line.get("sha256"), str):
            raise unknown("a line of the format cannot be read")
        self.nothing_is_missing()
        if self.at < self.head["last"]:
            raise bad(self.at + 1 if self.of_shard else self.head["last"], "the event is missing")
        if line["events"] != self.events:
            raise bad(None, "the last line counts other events")
        if line["sha256"] != self.ours.hexdigest():
            raise bad(None, "the last line is of other lines")
        if not self.extends:
            raise unknown(
                "the file does not show that its checkpoint extends the older one; export it with --checkpoint"
            )
        self.ended = True


def verify(file, keys, witnesses=(), older=None):
    """What a good file comes to. Raises a Fault of any other."""
    chain = books = None
    for line in file:
        if not line.endswith(b"\n"):
            raise unknown("the file is incomplete: its last line has no end")
        line = line[:-1]
        if chain is None:
            chain = Chain(line, keys, witnesses, older)
            books = Books(chain.head)
            continue
        event = chain.take(line)
        if event is None:
            continue
        position, for_prices = event
        name, event = read_event(line, position)
        if event["position"] != position:
            raise bad(position, "the event says that it stands elsewhere")
        try:
            (books.enter_prices if for_prices else books.enter)(position, name, event)
        except Wrong as why:
            raise bad(position, str(why)) from None
    if chain is None:
        raise unknown("the file is empty")
    if not chain.ended:
        raise unknown("the file is incomplete")
    return told(chain, books)


def as_credits(amount):
    whole, fraction = divmod(abs(amount), 1_000_000)
    text = f"{whole}.{fraction:06}".rstrip("0").rstrip(".")
    return f"-{text}" if amount < 0 else text


def told(chain, books):
    head, customers = chain.head, books.customers()
    if "account" in head["scope"]:
        counted = [account for account_id, account in customers.items() if account_id == head["scope"]["account"]]
        available = counted[0].available() if counted and counted[0].whole else None
    else:
        counted = [account for account in customers.values() if account.whole]
        available = sum(account.available() for account in counted) if counted else None
    balance = None
    if counted:
        balance = {name: as_credits(sum(account.sums[name] for account in counted)) for name in SUMS}
        balance["available"] = None if available is None else as_credits(available)
    at = EPOCH + datetime.timedelta(microseconds=books.time)
    return {
        "origin": head["origin"], "shard": head["shard"], "scope": head["scope"], "first": head["first"],
        "last": head["last"], "size": chain.size, "events": chain.events,
        "last_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "accounts": len(customers), "balance": balance,
        "not_checked": books.not_checked(),
    }


def say(result, as_json):
    if as_json:
        print(json.dumps(result, ensure_ascii=False, separators=(",", ":")))
        return
    where = "" if result.get("position") is None else f" at position {result['position']}"
    if result["verdict"] == "tampered":
        print(f"tampered{where}: {result['why']}")
    elif result["verdict"] == "unknown":
        print(f"cannot tell{where}: {result['why']}")
    else:
        print(f"good: {result['events']} events, positions {result['first']} to {result['last']} of {result['size']}")
        for name, amount in (result["balance"] or {}).items():
            print(f"  {name:<10} {'not known' if amount is None else amount}")
        for what in result["not_checked"]:
            print(f"not checked: {what}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Verify an export of Keyledger's log.")
    parser.add_argument("file")
    parser.add_argument("--key", action="append", required=True, help="verifier key of the log: name+id+base64")
    parser.add_argument("--witness", action="append", default=[], help="verifier key of a witness that has to have signed")
    parser.add_argument("--checkpoint", help="a file with an older checkpoint, which the export has to extend")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    try:
        keys, witnesses = [VerifierKey(key) for key in asked.key], [VerifierKey(key) for key in asked.witness]
        older = None
        if asked.checkpoint is not None:
            with open(asked.checkpoint, encoding="utf-8", newline="") as note:
                older = note.read()
        with open(asked.file, "rb", buffering=1 << 20) as file:
            result = {"verdict": "good", **verify(file, keys, witnesses, older)}
    except Fault as fault:
        verdict = "tampered" if fault.tampered else "unknown"
        result = {"verdict": verdict, "position": fault.position, "why": fault.why}
    except (OSError, ValueError) as error:
        result = {"verdict": "unknown", "position": None, "why": str(error)}
    say(result, asked.json)
    return {"good": 0, "tampered": 1, "unknown": 2}[result["verdict"]]


if __name__ == "__main__":
    sys.exit(main())

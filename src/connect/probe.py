"""Connects to services with the libpq of this machine, and says in which role it arrives.

    python3 -I -c SCRIPT SERVICE...

Prints one JSON object a line for each service, in no particular order: with "ok": true what it
found, with "ok": false and "message" why there is nothing. It reads only, and only catalogues.

Nothing that libpq or the server said is printed before it went through a Mask: a message may name
host, port, user and database, but hold no password of the service file or the password file.
Standard error goes nowhere: libpq would print there what a server sends, escape sequences included.

Nothing but the standard library of Python 3.6 and libpq 10 is needed; servers from 9.6 on.
"""

import ctypes
import json
import os
import re
import select
import sys
import threading
import time

# In seconds: what a connection may take if neither service nor environment say, what a statement
# may take, the end of a connection, and the most that anything may.
CONNECTING = 10
STATEMENT = 10
LEAVING = 2
LONGEST = 600

# The keywords of libpq whose values nobody may see.
PASSWORDS = (
    "password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key",
)
# What the settings say openly.
OPEN = ("user", "dbname", "host", "hostaddr", "port")

# A password inside another value, as in host=postgresql://ada:xyz@db: somebody mistook the field
# for a whole connection string.
EMBEDDED = re.compile(r"://[^\s/:]*:(\S+)@|password\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S+))", re.I)

# Where libpq and the server cut what they read.
CUTS = re.compile(r"[\s'\"\\,;:@/=]+")
# A shorter part of a password is masked where it stands alone only: masked everywhere, it could be
# read off what is left of the words around it.
SHORT = 4
# The server cuts the names of users and databases there, in bytes.
NAME = 63
# The longest text that is printed, in characters.
TEXT = 2000

BEGIN = (
    "BEGIN READ ONLY; SET LOCAL statement_timeout = %d; SET LOCAL client_encoding = 'UTF8'; "
    # Nothing that somebody put into a schema stands in for what is called below.
    "SET LOCAL search_path = pg_catalog, pg_temp" % (STATEMENT * 1000)
)

# A superuser has every role's rights; only what it owns itself counts as its own here.
# %s is how pg_has_role calls the right to SET ROLE.
FACTS = """
WITH me AS (SELECT * FROM pg_roles WHERE rolname = current_user),
login AS (SELECT * FROM pg_roles WHERE rolname = session_user),
owners AS (
    SELECT other.oid FROM pg_roles other, me
    WHERE other.oid = me.oid OR (NOT me.rolsuper AND pg_has_role(me.oid, other.oid, 'USAGE'))
)
SELECT
    me.rolname AS role,
    login.rolname AS session_role,
    current_database() AS database,
    split_part(current_setting('server_version'), ' ', 1) AS server_version,
    (SELECT extversion FROM pg_extension WHERE extname = 'postgis') AS postgis_version,
    me.rolsuper AS superuser,
    login.rolsuper AS session_superuser,
    EXISTS (
        SELECT FROM pg_roles other
        WHERE other.rolsuper AND pg_has_role(login.oid, other.oid, '%s')
    ) AS may_become_superuser,
    me.rolcreaterole AS createrole,
    me.rolcreatedb AS createdb,
    me.rolbypassrls AS bypassrls,
    me.rolreplication AS replication,
    EXISTS (
        SELECT FROM pg_database
        WHERE datname = current_database() AND datdba IN (SELECT oid FROM owners)
    ) AS owns_database,
    (
        SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND c.relowner IN (SELECT oid FROM owners)
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    ) AS owned_tables
FROM me, login
"""


class Refused(Exception):
    """There is no answer to a service, for this reason (not masked)."""


class Option(ctypes.Structure):
    """PQconninfoOption of libpq-fe.h."""

    _fields_ = [
        (name, ctypes.c_char_p)
        for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")
    ] + [("dispsize", ctypes.c_int)]


def load():
    """libpq, with the types of the functions that are called."""
    lib = ctypes.CDLL("libpq.so.5")
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    options, texts = ctypes.POINTER(Option), ctypes.POINTER(ctypes.c_char_p)
    for name, result, arguments in (
        ("PQclear", None, [pointer]),
        ("PQconndefaults", options, []),
        ("PQconnectdbParams", pointer, [texts, texts, number]),
        ("PQconninfo", options, [pointer]),
        ("PQconninfoFree", None, [options]),
        ("PQerrorMessage", text, [pointer]),
        ("PQexec", pointer, [pointer, text]),
        ("PQfinish", None, [pointer]),
        ("PQfname", text, [pointer, number]),
        ("PQgetisnull", number, [pointer, number, number]),
        ("PQgetvalue", text, [pointer, number, number]),
        ("PQgssEncInUse", number, [pointer]),
        ("PQhost", text, [pointer]),
        ("PQhostaddr", text, [pointer]),
        ("PQnfields", number, [pointer]),
        ("PQntuples", number, [pointer]),
        ("PQpass", text, [pointer]),
        ("PQport", text, [pointer]),
        ("PQresultStatus", number, [pointer]),
        ("PQserverVersion", number, [pointer]),
        ("PQsocket", number, [pointer]),
        ("PQsslAttribute", text, [pointer, text]),
        ("PQsslInUse", number, [pointer]),
        ("PQstatus", number, [pointer]),
    ):
        # PQhostaddr and PQgssEncInUse came with libpq 12.
        function = getattr(lib, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
    return lib


def decoded(raw):
    """Text of libpq. Before a server knows the client's encoding it answers in its own."""
    try:
        return (raw or b"").decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def clean(text):
    """One line, without what cannot be seen."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def values(lib, options):
    """Keyword to value, of what PQconndefaults or PQconninfo returned."""
    found, i = {}, 0
    while options and options[i].keyword:
        if options[i].val is not None:
            found[decoded(options[i].keyword)] = decoded(options[i].val)
        i += 1
    lib.PQconninfoFree(options)
    return found


def settings_of(lib, service):
    """What libpq reads for a service, defaults included; up to a fault in the file, if one is."""
    before = os.environb.get(b"PGSERVICE")
    os.environb[b"PGSERVICE"] = service
    try:
        return values(lib, lib.PQconndefaults())
    finally:
        if before is None:
            del os.environb[b"PGSERVICE"]
        else:
            os.environb[b"PGSERVICE"] = before


def lines(path):
    """The lines of a file of at most a mebibyte; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return [decoded(line) for line in file.read(1 << 20).splitlines()]
    except (OSError, ValueError):
        return []


def in_service_file():
    """The passwords of all services: libpq stops reading at a fault, and names no line of it."""
    for line in lines(os.environ.get("PGSERVICEFILE", "")):
        key, _, value = line.partition("=")
        if key.strip() in PASSWORDS:
            yield value


def in_password_file(path):
    """The last fields of host:port:database:user:password, where a backslash quotes."""
    for line in lines(path):
        fields = re.findall(r"((?:[^:\\]|\\.)*)(?::|$)", line)
        if len(fields) >= 5:
            yield re.sub(r"\\(.)", r"\1", fields[4])


class Mask:
    """Takes passwords out of texts."""

    def __init__(self):
        self.parts = set()
        self.pattern = None

    def learn(self, settings):
        """Takes the passwords of these settings, and of the files that they come from, in."""
        whole = set(in_service_file())
        whole.update(in_password_file(settings.get("passfile", "")))
        for key, value in settings.items():
            if key in PASSWORDS:
                whole.add(value)
            for found in EMBEDDED.finditer(value):
                whole.update(group for group in found.groups() if group)
        whole = {clean(value) for value in whole}
        whole.discard("")
        self.parts |= whole
        for value in whole:
            # As they are quoted in connection strings, in `options`, and in SQL; the server takes
            # `--some-name=1` in `options` for the parameter some_name.
            self.parts.add(re.sub(r"([\\'])", r"\\\1", value))
            self.parts.add(re.sub(r"([\\\s])", r"\\\1", value))
            self.parts.add(value.replace("'", "''"))
            self.parts.add(value.replace("-", "_"))
            self.parts.update(part for part in CUTS.split(value) if len(part) >= SHORT)
        for value in map(clean, settings.values()):
            short = value.encode("utf-8", "replace")[:NAME].decode("utf-8", "ignore")
            if short != value and any(part in value for part in whole):
                self.parts.add(short)
        self.pattern = re.compile("|".join(
            re.escape(part) if len(part) >= SHORT else r"(?<!\w)%s(?!\w)" % re.escape(part)
            for part in sorted(self.parts, key=len, reverse=True)
        )) if self.parts else None

    def __call__(self, text):
        text = clean(text)
        return (self.pattern.sub("***", text) if self.pattern else text)[:TEXT]


def connect(lib, service):
    """As the job would: the service says everything, but how the connection is called."""
    names = (ctypes.c_char_p * 3)(b"service", b"fallback_application_name", None)
    given = (ctypes.c_char_p * 3)(service, b"qgis-secrets", None)
    return lib.PQconnectdbParams(names, given, 0)


def leave(lib, connection):
    """Ends a connection, and waits until the server has, too: it counts among a role's until then.

    libpq says goodbye and closes its descriptor. Through a copy of that, the end is seen.
    """
    socket = lib.PQsocket(connection)
    copy = os.dup(socket) if socket >= 0 else None
    lib.PQfinish(connection)
    if copy is None:
        return
    poll = select.poll()
    poll.register(copy, select.POLLIN)
    end = time.monotonic() + LEAVING
    try:
        while time.monotonic() < end:
            # Milliseconds; what still comes is of no interest, only that nothing comes any more.
            if poll.poll(LEAVING * 1000) and not os.read(copy, 4096):
                break
    except OSError:
        pass  # The server closed it the hard way.
    finally:
        os.close(copy)


def ask(lib, connection, statement):
    """The rows of a statement, as dictionaries of texts."""
    result = lib.PQexec(connection, statement.encode())
    try:
        # PGRES_COMMAND_OK, PGRES_TUPLES_OK
        if lib.PQresultStatus(result) not in (1, 2):
            raise Refused(
                "connected, but what the role may do cannot be read: "
                + decoded(lib.PQerrorMessage(connection))
            )
        return [
            {
                decoded(lib.PQfname(result, column)): None
                if lib.PQgetisnull(result, row, column)
                else decoded(lib.PQgetvalue(result, row, column))
                for column in range(lib.PQnfields(result))
            }
            for row in range(lib.PQntuples(result))
        ]
    finally:
        lib.PQclear(result)


FLAGS = (
    "superuser", "session_superuser", "may_become_superuser", "createrole", "createdb",
    "bypassrls", "replication", "owns_database",
)


def facts(lib, connection, settings, mask):
    """What there is to say about a connection that works."""
    ask(lib, connection, BEGIN)
    # Since version 16 a member is not always allowed to SET ROLE.
    right = "SET" if lib.PQserverVersion(connection) >= 160000 else "MEMBER"
    rows = ask(lib, connection, FACTS % right)
    ask(lib, connection, "ROLLBACK")
    if len(rows) != 1:
        raise Refused("connected, but the role is not there any more")
    row = rows[0]
    known = {clean(settings[key]) for key in OPEN if key in settings}

    def shown(text):
        # A role that is its own password is no news to who sees the setting.
        return clean(text) if clean(text) in known else mask(text)

    def optional(text):
        return shown(text) if text else None

    address = decoded(lib.PQhostaddr(connection)) if hasattr(lib, "PQhostaddr") else ""
    tls = bool(lib.PQsslInUse(connection))
    protocol = decoded(lib.PQsslAttribute(connection, b"protocol")) if tls else ""
    answer = {
        "role": shown(row["role"]),
        "session_role": shown(row["session_role"]),
        "database": shown(row["database"]),
        "host": shown(decoded(lib.PQhost(connection))),
        "address": optional(address),
        "port": int(decoded(lib.PQport(connection)) or 5432),
        "server_version": mask(row["server_version"]),
        "postgis_version": mask(row["postgis_version"]) if row["postgis_version"] else None,
        "tls": tls,
        "tls_version": optional(protocol),
        "gss": bool(hasattr(lib, "PQgssEncInUse") and lib.PQgssEncInUse(connection)),
        "owned_tables": int(row["owned_tables"]),
    }
    answer.update((flag, row[flag] == "t") for flag in FLAGS)
    return answer


def probe(lib, service, settings):
    """The answer of one service."""
    mask = Mask()
    connection = None
    try:
        mask.learn(settings)
        connection = connect(lib, service)
        # What the service file held when libpq read it, and what it found in a password file.
        used = values(lib, lib.PQconninfo(connection))
        mask.learn({**used, "password": decoded(lib.PQpass(connection))})
        mask.learn(used)
        # CONNECTION_OK
        if lib.PQstatus(connection) != 0:
            raise Refused(decoded(lib.PQerrorMessage(connection)))
        return dict(facts(lib, connection, used, mask), ok=True)
    except Refused as refused:
        message = mask(str(refused)) or "libpq gives no reason"
    except Exception as error:  # A fault of ours; its text may hold what the server sent.
        message = "the probe broke (%s)" % type(error).__name__
    finally:
        leave(lib, connection)
    return {"ok": False, "message": message}


def patience(settings):
    """How long to wait for a service, in seconds: all its hosts, each with two addresses."""
    try:
        each = int(settings.get("connect_timeout", CONNECTING))
    except ValueError:
        each = CONNECTING
    hosts = (settings.get("hostaddr") or settings.get("host") or "").count(",") + 1
    # 0 and less is for ever.
    connecting = 2 * hosts * max(each, 2) if each > 0 else LONGEST
    return min(connecting + 2 * STATEMENT, LONGEST)


class Printer:
    """Prints whole lines, whoever calls."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, service, answer):
        line = json.dumps(dict(answer, service=service.decode("utf-8", "replace")))
        with self.lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def visit(lib, services, emit):
    """Asks the services of one server, one after the other."""
    for service, settings in services:
        answers = []

        def run(service=service, settings=settings, answers=answers):
            answers.append(probe(lib, service, settings))

        # connect_timeout ends no name look-up, and a statement's limit is the server's to keep.
        limit = patience(settings)
        asking = threading.Thread(target=run, daemon=True)
        asking.start()
        asking.join(limit)
        nothing = {"ok": False, "message": "there is no answer after %d seconds" % limit}
        emit(service, answers[0] if answers else nothing)


def main():
    emit = Printer()
    services = [os.fsencode(name) for name in sys.argv[1:]]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        lib = load()
    except (OSError, AttributeError):
        for service in services:
            emit(service, {"ok": False, "message": "there is no libpq.so.5 where the job runs"})
        return
    # To libpq the environment is weaker than a service.
    os.environ.setdefault("PGCONNECT_TIMEOUT", str(CONNECTING))
    # Services of one server take turns: a role may be allowed one connection only.
    servers = {}
    for service in services:
        settings = settings_of(lib, service)
        server = tuple(settings.get(key, "") for key in ("host", "hostaddr", "port"))
        servers.setdefault(server, []).append((service, settings))
    visits = [
        threading.Thread(target=visit, args=(lib, group, emit), daemon=True)
        for group in servers.values()
    ]
    for thread in visits:
        thread.start()
    for thread in visits:
        thread.join()


main()
# A thread may still be inside libpq: tearing down what it uses would crash.
os._exit(0)

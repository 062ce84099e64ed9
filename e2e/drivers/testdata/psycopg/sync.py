"""The jobs of a sync writer, done with psycopg 3. See jobs_test.go."""

import datetime
import decimal
import hashlib
import logging
import threading
import traceback
import uuid

import psycopg
from psycopg import errors, sql
from psycopg.types.json import Jsonb

# It may warn of the batch that fails as intended.
logging.getLogger("psycopg").setLevel(logging.ERROR)

CLIENTS = 8
ROUNDS = 12
jobs = []


def job(f):
    jobs.append(f)
    return f


def connect(**more):
    """The database is in the environment, as libpq has it."""
    return psycopg.connect(**more)


def one(c, query, *params):
    """The first value of a query's first row."""
    return c.execute(query, params or None).fetchone()[0]


def code(f, *args, **kwargs):
    """The SQLSTATE of the error that f ends with."""
    try:
        f(*args, **kwargs)
    except psycopg.Error as e:
        return e.sqlstate
    return "no error"


@job
def connect_():
    with connect(application_name="sync", options="-c TimeZone=Asia/Tokyo") as c:
        return one(c, "select current_setting('application_name') || ' ' || current_setting('TimeZone')")


@job
def parameters():
    with connect() as c:
        return one(c, "select concat_ws('|', %s::int + 1, %s::text, coalesce(%s::text, 'NULL'), %s::boolean)",
                   41, "Zoë 🐘 'quoted' \\", None, True)


@job
def types():
    row = (-32768, 2147483647, 9007199254740991, 0.1, decimal.Decimal("12345.67890"), True, "Zoë",
           datetime.datetime(2024, 2, 29, 12, 34, 56, 789000, tzinfo=datetime.timezone.utc),
           datetime.date(2024, 2, 29), b"\x00\xff\x10", [1, None, 3], ["a", None, "b c"], {"k": [1, 2]},
           uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), None)
    with connect() as c:
        c.execute("""create table kinds (i2 int2, i4 int4, i8 int8, f8 float8, n numeric(20, 5), b boolean, t text,
            ts timestamptz, d date, bytes bytea, ints int[], texts text[], doc jsonb, id uuid, nothing int)""")
        sent = tuple(Jsonb(v) if isinstance(v, dict) else v for v in row)
        c.execute("insert into kinds values (%s)" % ", ".join(["%s"] * len(row)), sent)
        for binary in (False, True):
            back = c.cursor(binary=binary).execute("select * from kinds").fetchone()
            if back != row:
                raise AssertionError(f"binary {binary}: {back}")
        return one(c, """select concat_ws('|', i2, i4, i8, f8, n, b, t, to_char(ts at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'),
            d, bytes, ints, texts, doc, id, coalesce(nothing::text, 'NULL')) from kinds""")


@job
def prepared():
    """After five executions psycopg prepares by itself: _pg3_0, _pg3_1, …"""
    with connect(autocommit=True) as c:
        c.execute("create table rounds (client int, round int)")
    right = []
    together = threading.Barrier(CLIENTS, timeout=60)

    def client(i):
        try:
            with connect() as c:
                for r in range(ROUNDS):
                    together.wait()
                    with c.transaction():
                        got = one(c, f"select 'client {i} round ' || %s::int", r)
                        c.execute(f"insert into rounds /* {i} */ values (%s, %s)", (i, r))
                    if got == f"client {i} round {r}":
                        right.append(got)
        except BaseException:
            together.abort()
            raise

    all_together(client)
    with connect() as c:
        return f"{len(right)} of {CLIENTS * ROUNDS} right, {one(c, 'select count(distinct (client, round)) from rounds')} rows"


def all_together(f):
    threads = [threading.Thread(target=f, args=(i,)) for i in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@job
def prepared_evicted():
    """More statements than psycopg keeps: it deallocates the oldest; DROP and ROLLBACK make it forget them all."""
    right = 0
    with connect(autocommit=True) as c:
        c.prepare_threshold, c.prepared_max = 1, 3
        for r in range(10):
            for s in range(6):
                right += one(c, f"select {s} * 100 + %s::int", r) == s * 100 + r
            c.execute("create table evicted (n int)")
            c.execute("drop table evicted")
            try:
                with c.transaction():
                    c.execute("select 1 / %s::int", (0,))
            except errors.DivisionByZero:
                right += 1
    return f"{right} of 70 right"


@job
def transactions():
    with connect(autocommit=True) as c:
        c.execute("create table steps (n int)")
        add = "insert into steps values (%s)"
        with c.transaction():
            c.execute(add, (1,))
            with c.transaction() as save:
                c.execute(add, (2,))
                raise psycopg.Rollback(save)
            c.execute(add, (3,))
        with c.transaction() as whole:
            c.execute(add, (4,))
            raise psycopg.Rollback(whole)
        return one(c, "select string_agg(n::text, ' ' order by n) from steps")


@job
def errors_():
    with connect(autocommit=True) as c:
        c.execute("create table uniques (n int primary key)")
        c.execute("insert into uniques values (1)")
        codes = [code(c.execute, "insert into uniques values (%s)", (1,)), code(c.execute, "selec 1")]
        c.execute("begin")
        codes += [code(c.execute, "select 1 / %s", (0,)), code(c.execute, "select 1")]
        c.execute("rollback")
        return " ".join(codes) + " " + one(c, "select 'alive'")


@job
def batch():
    with connect(autocommit=True) as c:
        c.execute("create table batches (n int)")
        count = "select count(*) from batches"
        with c.pipeline():
            for n in range(100):
                c.execute("insert into batches values (%s)", (n,))
        before = one(c, count)

        def failing():
            with c.pipeline():
                c.execute("insert into batches values (%s)", (1000,))
                c.execute("select 1 / %s", (0,))
                c.execute("insert into batches values (%s)", (1001,))

        failed = code(failing)
        return f"{before} rows, {failed}, {one(c, count)} rows"


@job
def copy():
    with connect(autocommit=True) as c:
        c.execute("create table copied (n int, t text)")
        cur = c.cursor()
        with cur.copy("copy copied from stdin") as to:
            for n in range(5000):
                to.write_row((n, f"line {n}\twith a tab"))
        rows = total = 0
        with cur.copy("copy copied to stdout (format binary)") as out:
            out.set_types(["int4", "text"])
            for n, t in out.rows():
                if t != f"line {n}\twith a tab":
                    raise AssertionError(t)
                rows, total = rows + 1, total + n

        def refused():
            with cur.copy("copy copied from stdin") as to:
                to.write("1\tone\nx\ttwo\n")

        def given_up():
            with cur.copy("copy copied from stdin") as to:
                to.write_row((1, "one"))
                raise KeyError("changed my mind")

        codes = f"{code(refused)}, {code(given_up)}"
        return f"{rows} rows, sum {total}, {codes}, {one(c, 'select count(*) from copied')} rows"


@job
def cursor():
    numbers = "select generate_series(1, 10000)"
    with connect() as c:
        with c.cursor("numbers") as cur:
            cur.itersize = 100
            cur.execute(numbers)
            got = [n for n, in cur]
        with c.cursor("given_up") as cur:
            cur.execute(numbers)
            cur.fetchmany(100)
        c.commit()
        return f"{len(got)} rows, sum {sum(got)}, {one(c, 'select %s::text', 'alive')}"


@job
def notify():
    with connect(autocommit=True) as listener, connect(autocommit=True) as other:
        got = []
        listener.add_notify_handler(lambda n: got.append(n.payload))
        listener.execute("listen orders")
        for n in (1, 2):
            with listener.transaction():
                listener.execute("select 1")
            other.execute("select pg_notify('orders', %s)", (f"row {n}",))
        for _ in range(1000):
            if len(got) < 2:
                listener.execute("select pg_sleep(0.01)")
        return ", ".join(got)


SHOW = "select current_setting('search_path') || ' ' || current_setting('TimeZone')"


@job
def settings():
    with connect() as a, connect() as b, connect() as third:
        for c, path, zone in ((a, "one", "Asia/Tokyo"), (b, "two", "America/Lima")):
            c.execute(sql.SQL("set search_path to {}").format(sql.Identifier(path)))
            c.execute(f"set timezone to '{zone}'")
            c.commit()
        seen = []
        for _ in range(5):
            for c in (a, b, third):
                seen.append(one(c, SHOW))
                c.commit()
        a.execute("reset all")
        a.commit()
        seen.append(one(a, SHOW))
        return ", ".join(dict.fromkeys(seen[:-1])) + ", " + seen[-1]


@job
def temporary():
    with connect() as c, connect(autocommit=True) as other:
        c.execute("create temporary table staged (n int)")
        c.commit()
        for n in range(3):
            c.execute("insert into staged values (%s)", (n,))
            c.commit()
        return f"{one(c, 'select count(*) from staged')} rows, {code(other.execute, 'select * from staged')}"


SLEEPS = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60)%'"


@job
def cancel():
    with connect(autocommit=True) as c, connect(autocommit=True) as other:
        def when_it_runs():
            while one(other, SLEEPS) == 0:
                other.execute("select pg_sleep(0.01)")
            c.cancel()

        canceller = threading.Thread(target=when_it_runs)
        canceller.start()
        got = code(c.execute, "select pg_sleep(60)")
        canceller.join()
        return f"{got} {one(c, 'select %s::text', 'alive')}"


@job
def timeout():
    with connect(autocommit=True) as c:
        c.execute("set statement_timeout to '100ms'")
        return f"{code(c.execute, 'select pg_sleep(60)')} {one(c, 'select %s::text', 'alive')}"


@job
def large():
    text, data = "é" * (1 << 19), bytes(range(256)) * (1 << 12)
    with connect() as c:
        t, b, digest = c.execute("select %t::text, %b::bytea, md5(%b::bytea)", (text, data, data)).fetchone()
        same = t == text and b == data and digest == hashlib.md5(data).hexdigest()
        return f"{len(t.encode())} {len(b)} {'same' if same else 'different'}"


@job
def upsert():
    with connect() as c:
        c.execute("create table upserted (id int primary key, v int)")
        c.commit()
        for v in (1, 1000):
            c.cursor().executemany(
                "insert into upserted values (%s, %s) on conflict (id) do update set v = excluded.v",
                [(n, v) for n in range(1000)])
            c.commit()
        rows, total = c.execute("select count(*), sum(v) from upserted").fetchone()
        return f"{rows} rows, sum {total}"


@job
def swap():
    query = "select v from swapped where v <> %s"
    with connect(autocommit=True) as c:
        c.prepare_threshold = 0
        c.execute("create table swapped as select 'old'::text v")
        seen = [one(c, query, "") for _ in range(10)]
        with c.transaction():
            c.execute("create table fresh as select 'new'::text v")
            c.execute("drop table swapped")
            c.execute("alter table fresh rename to swapped")
        seen += [one(c, query, "") for _ in range(10)]
        return " ".join(dict.fromkeys(seen))


@job
def columns():
    with connect() as c:
        c.execute("create table described (id int, name text)")
        rows = c.execute("""select column_name || ' ' || data_type from information_schema.columns
            where table_schema = %s and table_name = %s order by ordinal_position""", ("public", "described")).fetchall()
        return ", ".join(r for r, in rows)


for f in jobs:
    try:
        answer = f()
    except BaseException:
        answer = "failed: " + traceback.format_exc().strip().replace("\n", " / ")
    print(f"{f.__name__.rstrip('_')}: {answer}", flush=True)

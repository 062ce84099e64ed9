import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.*;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;

/** The jobs of a sync writer, done with pgJDBC. See jobs_test.go. */
public class Sync {
    static final int CLIENTS = 8, ROUNDS = 12;

    interface Job {
        String run() throws Exception;
    }

    interface Attempt {
        void run() throws Exception;
    }

    /** The database is in the environment, as libpq has it. */
    static Connection connect(String... more) throws SQLException {
        Map<String, String> env = System.getenv();
        Properties p = new Properties();
        p.setProperty("user", env.get("PGUSER"));
        p.setProperty("password", env.get("PGPASSWORD"));
        p.setProperty("sslmode", "disable");
        for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
        return DriverManager.getConnection(
            "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE"), p);
    }

    static void set(PreparedStatement s, Object... params) throws SQLException {
        for (int i = 0; i < params.length; i++) s.setObject(i + 1, params[i]);
    }

    /** The first value of a query's first row, as text. */
    static String one(Connection c, String query, Object... params) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(query)) {
            set(s, params);
            return one(s);
        }
    }

    static String one(PreparedStatement s) throws SQLException {
        try (ResultSet r = s.executeQuery()) {
            r.next();
            return r.getString(1);
        }
    }

    static void run(Connection c, String sql, Object... params) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            set(s, params);
            s.execute();
        }
    }

    /** The SQLSTATE of the error that it ends with. */
    static String code(Attempt a) throws Exception {
        try {
            a.run();
        } catch (BatchUpdateException e) {
            return e.getNextException() == null ? e.getSQLState() : e.getNextException().getSQLState();
        } catch (SQLException e) {
            return e.getSQLState();
        }
        return "no error";
    }

    static String alive(Connection c) throws SQLException {
        return one(c, "select ?::text", "alive");
    }

    static String login() throws Exception {
        try (Connection c = connect("ApplicationName", "sync", "options", "-c TimeZone=Asia/Tokyo")) {
            // The driver sends the JVM's own zone as well, which counts more: so here it is set as programs do.
            run(c, "set time zone 'Asia/Tokyo'");
            return one(c, "select current_setting('application_name') || ' ' || current_setting('TimeZone')");
        }
    }

    static String parameters() throws Exception {
        try (Connection c = connect()) {
            return one(c, "select concat_ws('|', ?::int + 1, ?::text, coalesce(?::text, 'NULL'), ?::boolean)",
                41, "Zoë 🐘 'quoted' \\", null, true);
        }
    }

    static String types() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table kinds (i2 int2, i4 int4, i8 int8, f8 float8, n numeric(20, 5), b boolean, t text, ts timestamptz,"
                + " d date, bytes bytea, ints int[], texts text[], doc jsonb, id uuid, nothing int)");
            PGobject doc = new PGobject();
            doc.setType("jsonb");
            doc.setValue("{\"k\": [1, 2]}");
            Object[] row = {(short) -32768, 2147483647, 9007199254740991L, 0.1, new BigDecimal("12345.67890"), true, "Zoë",
                OffsetDateTime.of(2024, 2, 29, 12, 34, 56, 789_000_000, ZoneOffset.UTC), java.time.LocalDate.of(2024, 2, 29),
                new byte[] {0, (byte) 0xff, 16}, c.createArrayOf("int4", new Integer[] {1, null, 3}),
                c.createArrayOf("text", new String[] {"a", null, "b c"}), doc,
                UUID.fromString("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), null};
            run(c, "insert into kinds values (" + String.join(", ", Collections.nCopies(row.length, "?")) + ")", row);
            // Ten times: from the sixth on it reads in binary what it can.
            try (PreparedStatement s = c.prepareStatement("select * from kinds")) {
                for (int pass = 0; pass < 10; pass++) {
                    try (ResultSet r = s.executeQuery()) {
                        r.next();
                        for (int i = 0; i < row.length; i++) {
                            Object got = switch (i) {
                                case 0 -> r.getShort(1);
                                case 7, 8 -> r.getObject(i + 1, row[i].getClass());
                                default -> r.getObject(i + 1);
                            };
                            if (!same(got, row[i])) throw new AssertionError("pass " + pass + ", column " + i + ": " + got);
                        }
                    }
                }
            }
            return one(c, "select concat_ws('|', i2, i4, i8, f8, n, b, t, to_char(ts at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'),"
                + " d, bytes, ints, texts, doc, id, coalesce(nothing::text, 'NULL')) from kinds");
        }
    }

    static boolean same(Object a, Object b) throws SQLException {
        if (a instanceof Array x && b instanceof Array y) return Arrays.equals((Object[]) x.getArray(), (Object[]) y.getArray());
        if (a instanceof byte[] x && b instanceof byte[] y) return Arrays.equals(x, y);
        return Objects.equals(a, b);
    }

    /** After five executions the driver prepares by itself: S_1, S_2, … */
    static String prepared() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table rounds (client int, round int)");
        }
        CyclicBarrier together = new CyclicBarrier(CLIENTS);
        AtomicInteger right = new AtomicInteger();
        List<Thread> threads = new ArrayList<>();
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (int n = 0; n < CLIENTS; n++) {
            int i = n;
            Thread t = new Thread(() -> {
                try (Connection c = connect();
                     PreparedStatement ask = c.prepareStatement("select 'client " + i + " round ' || ?::int");
                     PreparedStatement add = c.prepareStatement("insert into rounds /* " + i + " */ values (?, ?)")) {
                    c.setAutoCommit(false);
                    for (int r = 0; r < ROUNDS; r++) {
                        together.await(60, TimeUnit.SECONDS);
                        ask.setInt(1, r);
                        String got = one(ask);
                        add.setInt(1, i);
                        add.setInt(2, r);
                        add.execute();
                        c.commit();
                        if (got.equals("client " + i + " round " + r)) right.incrementAndGet();
                    }
                } catch (Throwable e) {
                    failures.add(e);
                    together.reset();
                }
            });
            t.start();
            threads.add(t);
        }
        for (Thread t : threads) t.join();
        if (!failures.isEmpty()) throw new Exception(failures.get(0));
        try (Connection c = connect()) {
            return right + " of " + CLIENTS * ROUNDS + " right, "
                + one(c, "select count(distinct (client, round)) from rounds") + " rows";
        }
    }

    /** More statements than the driver keeps: it closes the oldest. */
    static String preparedEvicted() throws Exception {
        int right = 0;
        try (Connection c = connect("prepareThreshold", "1", "preparedStatementCacheQueries", "3")) {
            for (int r = 0; r < 10; r++)
                for (int s = 0; s < 6; s++)
                    if (one(c, "select " + s + " * 100 + ?::int", r).equals("" + (s * 100 + r))) right++;
        }
        return right + " of 60 right";
    }

    static String transactions() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table steps (n int)");
            String add = "insert into steps values (?)";
            c.setAutoCommit(false);
            run(c, add, 1);
            Savepoint s = c.setSavepoint();
            run(c, add, 2);
            c.rollback(s);
            run(c, add, 3);
            c.commit();
            run(c, add, 4);
            c.rollback();
            return one(c, "select string_agg(n::text, ' ' order by n) from steps");
        }
    }

    static String errors() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table uniques (n int primary key)");
            run(c, "insert into uniques values (1)");
            String codes = code(() -> run(c, "insert into uniques values (?)", 1)) + " " + code(() -> run(c, "selec 1"));
            c.setAutoCommit(false);
            codes += " " + code(() -> run(c, "select 1 / ?", 0)) + " " + code(() -> run(c, "select 1"));
            c.rollback();
            return codes + " " + alive(c);
        }
    }

    static void batchOf(Connection c, String sql, int[]... rows) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int[] row : rows) {
                for (int i = 0; i < row.length; i++) s.setInt(i + 1, row[i]);
                s.addBatch();
            }
            s.executeBatch();
        }
    }

    static String batch() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table batches (n int)");
            c.setAutoCommit(false);
            int[][] rows = new int[100][];
            for (int n = 0; n < 100; n++) rows[n] = new int[] {n};
            batchOf(c, "insert into batches values (?)", rows);
            c.commit();
            String count = "select count(*) from batches", before = one(c, count);
            String failed = code(() -> batchOf(c, "insert into batches values (1 / ?)", new int[] {1}, new int[] {0}, new int[] {1}));
            c.rollback();
            return before + " rows, " + failed + ", " + one(c, count) + " rows";
        }
    }

    static String copy() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table copied (n int, t text)");
            CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder text = new StringBuilder();
            for (int n = 0; n < 5000; n++) text.append(n).append("\tline ").append(n).append("\\twith a tab\n");
            copy.copyIn("copy copied from stdin", new StringReader(text.toString()));
            StringWriter out = new StringWriter();
            copy.copyOut("copy copied to stdout", out);
            int rows = 0;
            long sum = 0;
            for (String line : out.toString().split("\n")) {
                String[] columns = line.split("\t");
                if (!columns[1].equals("line " + columns[0] + "\\twith a tab")) throw new AssertionError(line);
                rows++;
                sum += Long.parseLong(columns[0]);
            }
            String refused = code(() -> copy.copyIn("copy copied from stdin", new StringReader("1\tone\nx\ttwo\n")));
            // The driver keeps the server's 57014 about a COPY that was given up to itself, having asked for it.
            CopyIn in = copy.copyIn("copy copied from stdin");
            in.writeToCopy("1\tone\n".getBytes(StandardCharsets.UTF_8), 0, 6);
            String givenUp = code(in::cancelCopy).equals("no error") ? "57014" : "an error";
            return rows + " rows, sum " + sum + ", " + refused + ", " + givenUp + ", " + one(c, "select count(*) from copied") + " rows";
        }
    }

    static String cursor() throws Exception {
        try (Connection c = connect()) {
            c.setAutoCommit(false);
            int rows = 0;
            long sum = 0;
            for (int pass = 0; pass < 2; pass++) {
                try (PreparedStatement s = c.prepareStatement("select generate_series(1, ?)")) {
                    s.setInt(1, 10000);
                    s.setFetchSize(100);
                    try (ResultSet r = s.executeQuery()) {
                        if (pass == 1) {
                            r.next();
                            break; // given up after the first portion
                        }
                        for (; r.next(); rows++) sum += r.getInt(1);
                    }
                }
            }
            c.commit();
            return rows + " rows, sum " + sum + ", " + alive(c);
        }
    }

    static String notified() throws Exception {
        try (Connection listener = connect(); Connection other = connect()) {
            run(listener, "listen orders");
            for (int n = 1; n <= 2; n++) {
                one(listener, "select 1");
                run(other, "select pg_notify('orders', ?)", "row " + n);
            }
            List<String> got = new ArrayList<>();
            for (int tries = 0; got.size() < 2 && tries < 1000; tries++) {
                PGNotification[] some = listener.unwrap(PGConnection.class).getNotifications(20);
                if (some != null) for (PGNotification n : some) got.add(n.getParameter());
            }
            return String.join(", ", got);
        }
    }

    static String settings() throws Exception {
        String show = "select current_setting('search_path') || ' ' || current_setting('TimeZone')";
        try (Connection a = connect(); Connection b = connect(); Connection third = connect()) {
            a.setSchema("one");
            run(a, "set timezone to 'Asia/Tokyo'");
            b.setSchema("two");
            run(b, "set timezone to 'America/Lima'");
            Set<String> seen = new LinkedHashSet<>();
            for (int r = 0; r < 5; r++)
                for (Connection c : List.of(a, b, third)) seen.add(one(c, show));
            run(a, "reset all");
            return String.join(", ", seen) + ", " + one(a, show);
        }
    }

    static String temporary() throws Exception {
        try (Connection c = connect(); Connection other = connect()) {
            run(c, "create temporary table staged (n int)");
            for (int n = 0; n < 3; n++) run(c, "insert into staged values (?)", n);
            return one(c, "select count(*) from staged") + " rows, " + code(() -> run(other, "select * from staged"));
        }
    }

    static String cancel() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            Thread t = new Thread(() -> {
                String sleeping = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60)%'";
                try (Connection other = connect()) {
                    while (one(other, sleeping).equals("0")) Thread.sleep(10);
                    s.cancel();
                } catch (Exception e) {
                    throw new RuntimeException(e);
                }
            });
            t.start();
            String got = code(() -> s.execute("select pg_sleep(60)"));
            t.join();
            return got + " " + alive(c);
        }
    }

    static String timeout() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.setQueryTimeout(1); // the driver's own timer, by a cancel request
            String byDriver = code(() -> s.execute("select pg_sleep(60)"));
            run(c, "set statement_timeout to '100ms'");
            String byServer = code(() -> run(c, "select pg_sleep(60)"));
            return (byDriver.equals(byServer) ? byServer : byDriver + " and " + byServer) + " " + alive(c);
        }
    }

    static String large() throws Exception {
        String text = "é".repeat(1 << 19);
        byte[] data = new byte[1 << 20];
        for (int n = 0; n < data.length; n++) data[n] = (byte) n;
        try (Connection c = connect(); PreparedStatement s = c.prepareStatement("select ?::text, ?::bytea, md5(?::bytea)")) {
            set(s, text, data, data);
            try (ResultSet r = s.executeQuery()) {
                r.next();
                byte[] back = r.getBytes(2);
                byte[] digest = java.security.MessageDigest.getInstance("MD5").digest(data);
                boolean same = r.getString(1).equals(text) && Arrays.equals(back, data)
                    && r.getString(3).equals(HexFormat.of().formatHex(digest));
                return r.getString(1).getBytes(StandardCharsets.UTF_8).length + " " + back.length + (same ? " same" : " different");
            }
        }
    }

    static String upsert() throws Exception {
        try (Connection c = connect("reWriteBatchedInserts", "true")) {
            run(c, "create table upserted (id int primary key, v int)");
            c.setAutoCommit(false);
            for (int v : new int[] {1, 1000}) {
                int[][] rows = new int[1000][];
                for (int n = 0; n < 1000; n++) rows[n] = new int[] {n, v};
                batchOf(c, "insert into upserted values (?, ?) on conflict (id) do update set v = excluded.v", rows);
                c.commit();
            }
            return one(c, "select count(*) || ' rows, sum ' || sum(v) from upserted");
        }
    }

    static String swap() throws Exception {
        try (Connection c = connect("prepareThreshold", "1");
             PreparedStatement s = c.prepareStatement("select v from swapped where v <> ?")) {
            run(c, "create table swapped as select 'old'::text v");
            Set<String> seen = new LinkedHashSet<>();
            s.setString(1, "");
            for (int n = 0; n < 10; n++) seen.add(one(s));
            c.setAutoCommit(false);
            run(c, "create table fresh as select 'new'::text v");
            run(c, "drop table swapped");
            run(c, "alter table fresh rename to swapped");
            c.commit();
            for (int n = 0; n < 10; n++) seen.add(one(s));
            return String.join(" ", seen);
        }
    }

    static String columns() throws Exception {
        try (Connection c = connect()) {
            run(c, "create table described (id int, name text)");
            Set<String> byCatalog = new LinkedHashSet<>();
            try (ResultSet r = c.getMetaData().getColumns(null, "public", "described", "%")) {
                while (r.next()) byCatalog.add(r.getString("COLUMN_NAME"));
            }
            if (!byCatalog.equals(new LinkedHashSet<>(List.of("id", "name")))) throw new AssertionError(byCatalog);
            return one(c, "select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position)"
                + " from information_schema.columns where table_schema = ? and table_name = ?", "public", "described");
        }
    }

    public static void main(String[] args) {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        Map<String, Job> jobs = new LinkedHashMap<>();
        jobs.put("connect", Sync::login);
        jobs.put("parameters", Sync::parameters);
        jobs.put("types", Sync::types);
        jobs.put("prepared", Sync::prepared);
        jobs.put("prepared_evicted", Sync::preparedEvicted);
        jobs.put("transactions", Sync::transactions);
        jobs.put("errors", Sync::errors);
        jobs.put("batch", Sync::batch);
        jobs.put("copy", Sync::copy);
        jobs.put("cursor", Sync::cursor);
        jobs.put("notify", Sync::notified);
        jobs.put("settings", Sync::settings);
        jobs.put("temporary", Sync::temporary);
        jobs.put("cancel", Sync::cancel);
        jobs.put("timeout", Sync::timeout);
        jobs.put("large", Sync::large);
        jobs.put("upsert", Sync::upsert);
        jobs.put("swap", Sync::swap);
        jobs.put("columns", Sync::columns);
        jobs.forEach((name, job) -> {
            String answer;
            try {
                answer = job.run();
            } catch (Throwable e) {
                StringWriter trace = new StringWriter();
                e.printStackTrace(new PrintWriter(trace));
                answer = "failed: " + trace.toString().strip().replace("\n", " / ");
            }
            out.println(name + ": " + answer);
        });
    }
}

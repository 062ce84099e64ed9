-- What people and scripts do with psql. It goes on after errors, as psql does.
\set VERBOSITY verbose
\set SHOW_CONTEXT never
\pset null '(null)'
select current_setting('client_encoding') as encoding, current_setting('application_name') as name;

create table orders (id int primary key, status text, total numeric(10, 2), at timestamptz default '2024-02-29 12:00+00');
\copy orders (id, status, total) from stdin with (delimiter '|', null 'null')
1|placed|10.50
2|shipped|0.99
3|re, turned|null
\.
\copy (select * from orders order by id) to stdout with (format csv, header)
copy orders (id, status) from stdin;
4	new
x	broken
\.
copy orders (id, status) from stdin;
5	last
\.
copy orders to stdout;
table orders;
\gdesc
select status, count(*) from orders group by 1 order by 1 \gdesc
select format('select %s as n', n) from generate_series(1, 3) n \gexec
select id as first, total from orders where id = 1 \gset got_
\echo :got_first :got_total
\d orders
\dt
\d+ orders

-- Errors, on and in a transaction.
insert into orders values (1);
selec 1;
begin;
insert into orders values (10);
savepoint s;
select 1 / 0;
select 1;
rollback to s;
select count(*) from orders;
rollback;
select count(*) from orders;
\set AUTOCOMMIT off
insert into orders values (11);
\echo in a transaction: :ERROR :SQLSTATE
rollback;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
begin;
select 1 / 0;
insert into orders values (12, 'kept');
commit;
\set ON_ERROR_ROLLBACK off
select status from orders where id = 12;

-- Several at once, some of them failing.
select 1 as a\; select 2 as b\; select 3 as c;
insert into orders values (20)\; select 1 / 0\; insert into orders values (21);
select count(*) from orders where id >= 20;
begin\; insert into orders values (22)\; commit\; select 'after';

-- Many rows by a cursor of psql's own.
\set FETCH_COUNT 100
select count(*), sum(n) from (select generate_series(1, 1000) n) s;
\o /dev/null
select generate_series(1, 1000);
\o
\unset FETCH_COUNT

-- State of the session.
set search_path = pg_catalog;
set timezone = 'Asia/Tokyo';
select current_setting('search_path'), current_setting('TimeZone');
begin; set local timezone = 'Europe/Paris'; show timezone; commit; show timezone;
reset all;
show search_path;
create temp table mine as select 42 as answer;
select * from mine;
prepare p (int) as select $1 + 1 as next;
execute p (1);
execute p (41);
deallocate p;
execute p (1);
begin;
declare c cursor with hold for select generate_series(1, 5);
fetch 2 from c;
commit;
fetch 2 from c;
close c;
\encoding LATIN1
select octet_length(chr(228)), current_setting('client_encoding');
\encoding UTF8
listen news;
notify news, 'is out';
unlisten *;
select lo_from_bytea(424242, 'a large object');
\lo_list
select convert_from(lo_get(424242), 'UTF8');
\lo_unlink 424242
do $$ begin raise notice 'a notice'; raise warning 'a warning'; end $$;
select pg_advisory_lock(7), pg_try_advisory_lock(7), pg_advisory_unlock(7);
discard all;
explain (costs off) select * from orders where id = 1;
vacuum orders;
\if :ERROR
\echo vacuum failed
\endif
set statement_timeout = '50ms';
select pg_sleep(10);
set statement_timeout = 0;
\! echo a shell
drop table orders;
\echo the end

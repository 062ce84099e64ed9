-- A database with something of everything that its owner need not be a superuser for.
create schema shop;
create type shop.status as enum ('placed', 'shipped', 'returned');
create domain shop.price as numeric(10, 2) check (value >= 0);
create type shop.address as (street text, city text);
create sequence shop.numbers start 1000 increment 10;
create function shop.touch() returns trigger language plpgsql as $$
begin
	new.changed := '2024-02-29 12:00+00';
	return new;
end $$;
create table shop.customers (
	id bigint generated always as identity primary key,
	email text not null unique,
	home shop.address,
	tags text[] not null default '{}',
	doc jsonb,
	photo bytea,
	changed timestamptz
);
create table shop.orders (
	id bigint default nextval('shop.numbers') primary key,
	customer bigint not null references shop.customers on delete cascade,
	status shop.status not null default 'placed',
	total shop.price,
	twice numeric generated always as (total * 2) stored,
	constraint shipped_has_total check (status <> 'shipped' or total is not null)
);
create index open_orders on shop.orders (customer) where status = 'placed';
create trigger touch before insert or update on shop.customers for each row execute function shop.touch();
create table shop.events (at date not null, what text) partition by range (at);
create table shop.events_2023 partition of shop.events for values from ('2023-01-01') to ('2024-01-01');
create table shop.events_2024 partition of shop.events for values from ('2024-01-01') to ('2025-01-01');
insert into shop.customers (email, home, tags, doc, photo)
	select 'Customer' || n || '@example.com', row('Elm Street ' || n, E'Zo\u00eb''s \\ town')::shop.address, array['a', null, 'b "c"'],
		jsonb_build_object('n', n, 'nested', jsonb_build_array(1, null, 'x')), decode(md5(n::text), 'hex')
	from generate_series(1, 1000) n;
insert into shop.orders (customer, status, total)
	select 1 + n % 1000, (array['placed', 'shipped', 'returned'])[1 + n % 3]::shop.status, n / 100.0 from generate_series(1, 5000) n;
insert into shop.events select date '2023-01-01' + n, E'line\tone\nline two ' || n from generate_series(0, 700) n;
create view shop.open as select c.email, o.total from shop.orders o join shop.customers c on c.id = o.customer where o.status = 'placed';
create materialized view shop.sums as select customer, sum(total) from shop.orders group by 1;
create unique index on shop.sums (customer);
alter table shop.orders enable row level security;
create policy all_rows on shop.orders using (true);
comment on table shop.orders is 'it''s what they ordered';
select lo_from_bytea(7777, decode(repeat('00ff10', 5000), 'hex'));

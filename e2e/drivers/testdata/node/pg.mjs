// The jobs of a sync writer, done with node-postgres. See jobs_test.go.
// It takes its database from the environment, as libpq does.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import assert from 'node:assert'
import pg from 'pg'
import Cursor from 'pg-cursor'
import copyStreams from 'pg-copy-streams'
import { barrier, clients, code, distinct, kinds, range, rounds, run, show, shown, sleeping } from './jobs.mjs'

// connected gives f as many clients as it takes, and ends them.
async function connected(f, config) {
  const all = range(Math.max(f.length, 1)).map(() => new pg.Client(config))
  try {
    for (const c of all) await c.connect()
    return await f(...all)
  } finally {
    await Promise.all(all.map(c => c.end()))
  }
}

const one = async (c, text, values) => Object.values((await c.query(text, values)).rows[0])[0]

await run({
  connect: () => connected(
    c => one(c, "select current_setting('application_name') || ' ' || current_setting('TimeZone')"),
    { application_name: 'sync', options: '-c TimeZone=Asia/Tokyo' }),

  parameters: () => connected(c => one(c,
    "select concat_ws('|', $1::int + 1, $2::text, coalesce($3::text, 'NULL'), $4::boolean)",
    [41, "Zoë 🐘 'quoted' \\", null, true])),

  types: () => connected(async c => {
    const row = [-32768, 2147483647, '9007199254740991', 0.1, '12345.67890', true, 'Zoë', new Date('2024-02-29T12:34:56.789Z'),
      '2024-02-29', Buffer.from([0, 255, 16]), [1, null, 3], ['a', null, 'b c'], { k: [1, 2] },
      '6ba7b810-9dad-11d1-80b4-00c04fd430c8', null]
    await c.query(kinds)
    await c.query(`insert into kinds values (${row.map((_, i) => `$${i + 1}`)})`, row)
    const asText = { getTypeParser: (oid, format) => oid === 1082 ? String : pg.types.getTypeParser(oid, format) }
    for (const binary of [false, true]) {
      // It reads few types in binary, and these at least.
      const what = binary ? 'i2, i4, b, t, bytes' : '*'
      const back = await c.query({ text: `select ${what} from kinds`, binary, rowMode: 'array', types: asText })
      assert.deepStrictEqual(back.rows[0], binary ? [0, 1, 5, 6, 9].map(i => row[i]) : row)
    }
    return one(c, shown)
  }),

  prepared: async () => {
    await connected(c => c.query('create table rounds (client int, round int)'))
    const together = barrier(clients)
    let right = 0
    await Promise.all(range(clients).map(i => connected(async c => {
      for (const r of range(rounds)) {
        await together()
        await c.query('begin')
        const got = await one(c, { name: 's1', text: `select 'client ${i} round ' || $1::int`, values: [r] })
        await c.query({ name: 's2', text: `insert into rounds /* ${i} */ values ($1, $2)`, values: [i, r] })
        await c.query('commit')
        if (got === `client ${i} round ${r}`) right++
      }
    })))
    const rows = await connected(c => one(c, 'select count(distinct (client, round)) from rounds'))
    return `${right} of ${clients * rounds} right, ${rows} rows`
  },

  transactions: () => connected(async c => {
    await c.query('create table steps (n int)')
    const add = n => c.query('insert into steps values ($1)', [n])
    await c.query('begin')
    await add(1)
    await c.query('savepoint s')
    await add(2)
    await c.query('rollback to s')
    await add(3)
    await c.query('commit')
    await c.query('begin')
    await add(4)
    await c.query('rollback')
    return one(c, "select string_agg(n::text, ' ' order by n) from steps")
  }),

  errors: () => connected(async c => {
    await c.query('create table uniques (n int primary key); insert into uniques values (1)')
    const codes = [await code(c.query('insert into uniques values ($1)', [1])), await code(c.query('selec 1'))]
    await c.query('begin')
    codes.push(await code(c.query('select 1 / $1::int', [0])), await code(c.query('select 1')))
    await c.query('rollback')
    return `${codes.join(' ')} ${await one(c, 'select $1', ['alive'])}`
  }),

  // It has no batches: several statements in one simple query are what it offers.
  batch: () => connected(async c => {
    await c.query('create table batches (n int)')
    const count = () => one(c, 'select count(*) from batches')
    await c.query(range(100).map(n => `insert into batches values (${n})`).join(';'))
    const before = await count()
    const failed = await code(c.query('insert into batches values (1000); select 1/0; insert into batches values (1001)'))
    return `${before} rows, ${failed}, ${await count()} rows`
  }),

  copy: () => connected(async c => {
    await c.query('create table copied (n int, t text)')
    const into = () => c.query(copyStreams.from('copy copied from stdin'))
    await pipeline(Readable.from(range(5000).map(n => `${n}\tline ${n}\\twith a tab\n`)), into())
    let text = ''
    const out = c.query(copyStreams.to('copy copied to stdout'))
    for await (const piece of out) text += piece
    const lines = text.trimEnd().split('\n').map(line => line.split('\t'))
    lines.forEach(([n, t]) => assert.strictEqual(t, `line ${n}\\twith a tab`))
    const sum = lines.reduce((s, [n]) => s + Number(n), 0)
    const refused = await code(pipeline(Readable.from(['1\tone\nx\ttwo\n']), into()))
    const givingUp = into()
    givingUp.write('1\tone\n')
    const ended = once(givingUp, 'error')
    givingUp.destroy()
    const [e] = await ended
    return `${lines.length} rows, sum ${sum}, ${refused}, ${e.code}, ${await one(c, 'select count(*) from copied')} rows`
  }),

  cursor: () => connected(async c => {
    const numbers = () => c.query(new Cursor('select generate_series(1, $1::int) as n', [10000]))
    let rows = 0
    let sum = 0
    const cursor = numbers()
    for (;;) {
      const some = await cursor.read(100)
      if (some.length === 0) break
      rows += some.length
      sum += some.reduce((s, r) => s + r.n, 0)
    }
    await cursor.close()
    const givenUp = numbers()
    await givenUp.read(100)
    await givenUp.close()
    return `${rows} rows, sum ${sum}, ${await one(c, 'select $1', ['alive'])}`
  }),

  notify: () => connected(async (listener, other) => {
    const got = []
    listener.on('notification', m => got.push(m.payload))
    await listener.query('listen orders')
    for (const n of [1, 2]) {
      await listener.query('begin; select 1; commit')
      await other.query("select pg_notify('orders', $1)", [`row ${n}`])
    }
    for (const _ of range(1000)) if (got.length < 2) await listener.query('select pg_sleep(0.01)')
    return got.join(', ')
  }),

  settings: () => connected(async (a, b, third) => {
    for (const [c, path, zone] of [[a, 'one', 'Asia/Tokyo'], [b, 'two', 'America/Lima']]) {
      await c.query(`set search_path to ${path}`)
      await c.query(`set timezone to '${zone}'`)
    }
    const seen = []
    for (const _ of range(5)) for (const c of [a, b, third]) seen.push(await one(c, show))
    await a.query('reset all')
    return `${distinct(seen).join(', ')}, ${await one(a, show)}`
  }),

  temporary: () => connected(async (c, other) => {
    await c.query('create temporary table staged (n int)')
    for (const n of range(3)) await c.query('insert into staged values ($1)', [n])
    return `${await one(c, 'select count(*) from staged')} rows, ${await code(other.query('select * from staged'))}`
  }),

  // As its documentation has it: another client asks for it by the process's id.
  cancel: () => connected(async (c, other) => {
    const pid = await one(c, 'select pg_backend_pid()')
    await c.query('begin')
    const running = code(c.query('select pg_sleep(60)'))
    const cancel = `select count(pg_cancel_backend(pid)) from (${sleeping}) as s`
    while (await one(other, cancel) === '0') await other.query('select pg_sleep(0.01)')
    const got = await running
    await c.query('rollback')
    return `${got} ${await one(c, 'select $1', [pid > 0 ? 'alive' : ''])}`
  }),

  timeout: () => connected(
    async c => `${await code(c.query('select pg_sleep(60)'))} ${await one(c, 'select $1', ['alive'])}`,
    { statement_timeout: 100 }),

  large: () => connected(async c => {
    const text = 'é'.repeat(1 << 19)
    const data = Buffer.from(range(1 << 20).map(n => n % 256))
    const { t, b, digest } = (await c.query('select $1::text t, $2::bytea b, md5($2::bytea) digest', [text, data])).rows[0]
    const same = t === text && b.equals(data) && digest === createHash('md5').update(data).digest('hex')
    return `${Buffer.byteLength(t)} ${b.length} ${same ? 'same' : 'different'}`
  }),

  upsert: () => connected(async c => {
    await c.query('create table upserted (id int primary key, v int)')
    for (const v of [1, 1000]) {
      await c.query(`insert into upserted select id, $2 from unnest($1::int[]) id
        on conflict (id) do update set v = excluded.v`, [range(1000), v])
    }
    const { count, sum } = (await c.query('select count(*), sum(v) from upserted')).rows[0]
    return `${count} rows, sum ${sum}`
  }),

  swap: () => connected(async c => {
    const query = { name: 'swapped', text: 'select v from swapped where v <> $1', values: [''] }
    await c.query("create table swapped as select 'old'::text v")
    const seen = []
    for (const _ of range(10)) seen.push(await one(c, query))
    await c.query("begin; create table fresh as select 'new'::text v; drop table swapped; alter table fresh rename to swapped; commit")
    for (const _ of range(10)) seen.push(await one(c, query))
    return distinct(seen).join(' ')
  }),

  columns: () => connected(async c => {
    await c.query('create table described (id int, name text)')
    const { rows } = await c.query(`select column_name || ' ' || data_type as v from information_schema.columns
      where table_schema = $1 and table_name = $2 order by ordinal_position`, ['public', 'described'])
    return rows.map(r => r.v).join(', ')
  }),
})

// The jobs of a sync writer, done with postgres.js. It names and keeps every
// statement, and sends what it can at once. See jobs_test.go.
// It takes its database from the environment, as libpq does.

import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import assert from 'node:assert'
import postgres from 'postgres'
import { barrier, clients, code, distinct, kinds, range, rounds, run, show, shown, sleeping } from './jobs.mjs'

const silent = () => {}

// connected gives f as many clients as it takes, each with one connection, and ends them.
async function connected(f, options) {
  const all = range(Math.max(f.length, 1)).map(() => postgres({ max: 1, onnotice: silent, ...options }))
  try {
    return await f(...all)
  } finally {
    await Promise.all(all.map(sql => sql.end({ timeout: 5 })))
  }
}

const only = async rows => Object.values((await rows)[0])[0]

await run({
  connect: () => connected(
    sql => only(sql`select current_setting('application_name') || ' ' || current_setting('TimeZone')`),
    { connection: { application_name: 'sync', TimeZone: 'Asia/Tokyo' } }),

  parameters: () => connected(sql => only(
    sql`select concat_ws('|', ${41}::int + 1, ${"Zoë 🐘 'quoted' \\"}::text, coalesce(${null}::text, 'NULL'), ${true}::boolean)`)),

  types: () => connected(async sql => {
    const row = [-32768, 2147483647, '9007199254740991', 0.1, '12345.67890', true, 'Zoë', new Date('2024-02-29T12:34:56.789Z'),
      new Date('2024-02-29'), Buffer.from([0, 255, 16]), [1, null, 3], ['a', null, 'b c'], { k: [1, 2] },
      '6ba7b810-9dad-11d1-80b4-00c04fd430c8', null]
    await sql.unsafe(kinds)
    await sql.unsafe(`insert into kinds values (${row.map((_, i) => `$${i + 1}`)})`, row)
    const [back] = await sql`select * from kinds`.values()
    // It does not know NULL inside an array, so arrays are left to the server to show.
    const scalar = (_, i) => i !== 10 && i !== 11
    assert.deepStrictEqual([...back].filter(scalar), row.filter(scalar))
    return only(sql.unsafe(shown))
  }),

  prepared: async () => {
    await connected(sql => sql`create table rounds (client int, round int)`)
    const together = barrier(clients)
    let right = 0
    await Promise.all(range(clients).map(i => connected(async sql => {
      for (const r of range(rounds)) {
        await together()
        await sql.begin(async tx => {
          const got = await only(tx.unsafe(`select 'client ${i} round ' || $1::int`, [r], { prepare: true }))
          await tx.unsafe(`insert into rounds /* ${i} */ values ($1, $2)`, [i, r], { prepare: true })
          if (got === `client ${i} round ${r}`) right++
        })
      }
    })))
    const rows = await connected(sql => only(sql`select count(distinct (client, round)) from rounds`))
    return `${right} of ${clients * rounds} right, ${rows} rows`
  },

  // Its own pool of 8 connections, a statement on whichever is free.
  prepared_pool: async () => {
    const sql = postgres({ max: clients, onnotice: silent })
    const got = await Promise.all(range(200).map(n => only(sql`select ${n}::int + 1`)))
    await sql.end({ timeout: 5 })
    return `${got.filter((v, n) => v === n + 1).length} of 200 right`
  },

  transactions: () => connected(async sql => {
    await sql`create table steps (n int)`
    await sql.begin(async tx => {
      await tx`insert into steps values (${1})`
      await tx.savepoint(async s => {
        await s`insert into steps values (${2})`
        throw new Error('back')
      }).catch(silent)
      await tx`insert into steps values (${3})`
    })
    await sql.begin(async tx => {
      await tx`insert into steps values (${4})`
      throw new Error('back')
    }).catch(silent)
    return only(sql`select string_agg(n::text, ' ' order by n) from steps`)
  }),

  errors: () => connected(async sql => {
    await sql`create table uniques (n int primary key)`
    await sql`insert into uniques values (1)`
    const codes = [await code(sql`insert into uniques values (${1})`), await code(sql`selec 1`)]
    const tx = await sql.reserve()
    await tx`begin`
    codes.push(await code(tx`select 1 / ${0}::int`), await code(tx`select 1`))
    await tx`rollback`
    tx.release()
    return `${codes.join(' ')} ${await only(sql`select ${'alive'}::text`)}`
  }),

  // Statements of a transaction that are not waited for go in one write.
  batch: () => connected(async sql => {
    await sql`create table batches (n int)`
    const count = () => only(sql`select count(*) from batches`)
    await sql.begin(tx => range(100).map(n => tx`insert into batches values (${n})`))
    const before = await count()
    const failed = await code(sql.begin(tx => [
      tx`insert into batches values (${1000})`, tx`select 1 / ${0}::int`, tx`insert into batches values (${1001})`,
    ]))
    return `${before} rows, ${failed}, ${await count()} rows`
  }),

  // A COPY that fails, or a statement right after COPY TO, may leave this driver waiting for ever, whomever it
  // talks to; so there is none.
  copy: () => connected(async sql => {
    await sql`create table copied (n int, t text)`
    const into = () => sql`copy copied from stdin`.writable()
    await pipeline(Readable.from(range(5000).map(n => `${n}\tline ${n}\\twith a tab\n`)), await into())
    const count = await only(sql`select count(*) from copied`)
    let text = ''
    for await (const piece of await sql`copy copied to stdout`.readable()) text += piece
    const lines = text.trimEnd().split('\n').map(line => line.split('\t'))
    lines.forEach(([n, t]) => assert.strictEqual(t, `line ${n}\\twith a tab`))
    const sum = lines.reduce((s, [n]) => s + Number(n), 0)
    return `${lines.length} rows, sum ${sum}, ${count} rows`
  }),

  cursor: () => connected(async sql => {
    let rows = 0
    let sum = 0
    for await (const some of sql`select generate_series(1, ${10000}::int) as n`.cursor(100)) {
      rows += some.length
      sum += some.reduce((s, r) => s + r.n, 0)
    }
    for await (const _ of sql`select generate_series(1, ${10000}::int) as n`.cursor(100)) break
    return `${rows} rows, sum ${sum}, ${await only(sql`select ${'alive'}::text`)}`
  }),

  notify: () => connected(async (listener, other) => {
    const got = []
    await listener.listen('orders', payload => got.push(payload))
    for (const n of [1, 2]) {
      await listener`select 1`
      await other.notify('orders', `row ${n}`)
    }
    for (const _ of range(1000)) if (got.length < 2) await other`select pg_sleep(0.01)`
    return got.join(', ')
  }),

  settings: () => connected(async (a, b, third) => {
    for (const [sql, path, zone] of [[a, 'one', 'Asia/Tokyo'], [b, 'two', 'America/Lima']]) {
      await sql.unsafe(`set search_path to ${path}`)
      await sql.unsafe(`set timezone to '${zone}'`)
    }
    const seen = []
    for (const _ of range(5)) for (const sql of [a, b, third]) seen.push(await only(sql.unsafe(show)))
    await a`reset all`
    return `${distinct(seen).join(', ')}, ${await only(a.unsafe(show))}`
  }),

  temporary: () => connected(async (sql, other) => {
    await sql`create temporary table staged (n int)`
    for (const n of range(3)) await sql`insert into staged values (${n})`
    return `${await only(sql`select count(*) from staged`)} rows, ${await code(other`select * from staged`)}`
  }),

  cancel: () => connected(async (sql, other) => {
    const sleep = sql`select pg_sleep(60)`
    const got = code(sleep)
    while ((await other.unsafe(sleeping)).length === 0) await other`select pg_sleep(0.01)`
    sleep.cancel()
    return `${await got} ${await only(sql`select ${'alive'}::text`)}`
  }),

  timeout: () => connected(
    async sql => `${await code(sql`select pg_sleep(60)`)} ${await only(sql`select ${'alive'}::text`)}`,
    { connection: { statement_timeout: 100 } }),

  large: () => connected(async sql => {
    const text = 'é'.repeat(1 << 19)
    const data = Buffer.from(range(1 << 20).map(n => n % 256))
    const [{ t, b, digest }] = await sql`select ${text}::text t, ${data}::bytea b, md5(${data}::bytea) digest`
    const same = t === text && b.equals(data) && digest === createHash('md5').update(data).digest('hex')
    return `${Buffer.byteLength(t)} ${b.length} ${same ? 'same' : 'different'}`
  }),

  upsert: () => connected(async sql => {
    await sql`create table upserted (id int primary key, v int)`
    for (const v of [1, 1000]) {
      await sql`insert into upserted ${sql(range(1000).map(id => ({ id, v })))} on conflict (id) do update set v = excluded.v`
    }
    const [{ count, sum }] = await sql`select count(*), sum(v) from upserted`
    return `${count} rows, sum ${sum}`
  }),

  swap: () => connected(async sql => {
    const query = () => only(sql`select v from swapped where v <> ${''}`)
    await sql`create table swapped as select 'old'::text v`
    const seen = []
    for (const _ of range(10)) seen.push(await query())
    await sql.begin(tx => [
      tx`create table fresh as select 'new'::text v`, tx`drop table swapped`, tx`alter table fresh rename to swapped`,
    ])
    for (const _ of range(10)) seen.push(await query())
    return distinct(seen).join(' ')
  }),

  columns: () => connected(async sql => {
    await sql`create table described (id int, name text)`
    const rows = await sql`select column_name || ' ' || data_type as v from information_schema.columns
      where table_schema = ${'public'} and table_name = ${'described'} order by ordinal_position`
    return rows.map(r => r.v).join(', ')
  }),
})

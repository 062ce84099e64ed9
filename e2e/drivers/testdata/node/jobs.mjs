// What the two drivers' programs share: running the jobs, and their numbers.

export const clients = 8
export const rounds = 12

export const show = "select current_setting('search_path') || ' ' || current_setting('TimeZone') as v"

export const shown = `select concat_ws('|', i2, i4, i8, f8, n, b, t,
  to_char(ts at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'),
  d, bytes, ints, texts, doc, id, coalesce(nothing::text, 'NULL')) as v from kinds`

export const kinds = `create table kinds (i2 int2, i4 int4, i8 int8, f8 float8, n numeric(20, 5), b boolean, t text,
  ts timestamptz, d date, bytes bytea, ints int[], texts text[], doc jsonb, id uuid, nothing int)`

export const sleeping = "select pid from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60)%'"

// code returns the SQLSTATE of the error that the promise ends with.
export async function code(promise) {
  try {
    await promise
  } catch (e) {
    if (e.code) return e.code
    throw e
  }
  return 'no error'
}

export const distinct = list => [...new Set(list)]

export const range = n => Array.from({ length: n }, (_, i) => i)

// barrier returns a function that resolves once n callers wait for it, again and again.
export function barrier(n) {
  let waiting = []
  return () => new Promise(resolve => {
    waiting.push(resolve)
    if (waiting.length === n) {
      const all = waiting
      waiting = []
      all.forEach(f => f())
    }
  })
}

// run does the jobs one after the other and prints a line for each.
export async function run(jobs) {
  for (const [name, job] of Object.entries(jobs)) {
    let answer
    try {
      answer = await job()
    } catch (e) {
      answer = 'failed: ' + (e.stack ?? String(e)).replaceAll('\n', ' / ')
    }
    console.log(`${name}: ${answer}`)
  }
}

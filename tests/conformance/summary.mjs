// Counts a result file of http-tests/cache-tests as the suite's own site does.
//
//     node summary.mjs CHECKOUT RESULTS.json
//
// The kind of a test (required, optimal, check) and what it depends on come from the
// suite; a test whose dependency did not pass is counted apart, as there.
import fs from 'fs'
import path from 'path'

const [checkout, file] = process.argv.slice(2).map((name) => path.resolve(name))
const tests = (await import(path.join(checkout, 'tests/index.mjs'))).default
const judge = await import(path.join(checkout, 'test-engine/lib/results.mjs'))
const results = JSON.parse(fs.readFileSync(file))
const names = new Map(Object.entries(judge.resultTypes).map(([name, type]) => [type, name]))
const counts = { required: {}, optimal: {}, check: {} }
const missed = []
for (const suite of tests) {
  for (const test of suite.tests.filter((one) => !one.browser_only)) {
    const kind = test.kind || 'required'
    const result = names.get(judge.determineTestResult(tests, test.id, results))
    counts[kind][result] = (counts[kind][result] || 0) + 1
    if (result !== 'pass' && kind !== 'check') {
      missed.push(`${kind} ${test.id}: ${result} ${JSON.stringify(results[test.id])}`)
    }
  }
}
for (const [kind, count] of Object.entries(counts)) {
  const all = Object.values(count).reduce((sum, n) => sum + n, 0)
  const passed = (count.pass || 0) + (count.yes || 0)
  console.log(`${kind}: ${passed} of ${all}`, JSON.stringify(count))
}
missed.forEach((line) => console.log(line))

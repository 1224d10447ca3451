// The line protocol between a test and a client process, the same for every library of Node.js.
//
// In: one scenario per line, tab separated: its name, then key=value arguments. Out: JSON lines, any number of
// {"record": [offset, timestamp, key, value]} (base64, null kept), closed by one {"done": {...}} or
// {"error": "Class: message"}. Standard output carries nothing else: what a library logs goes to standard error. End of
// input ends the process.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const { Console } = require('node:console')

globalThis.console = new Console(process.stderr, process.stderr)

function emit(kind, value) {
  process.stdout.write(JSON.stringify({ [kind]: value }) + '\n')
}

const base64 = (bytes) => (bytes == null ? null : Buffer.from(bytes).toString('base64'))

/** Passes on exactly `count` records; `complete` resolves then, and rejects when `fail` is called or the deadline comes. */
class Reading {
  constructor(given) {
    this.wanted = Number(given.count)
    this.seen = 0
    this.next = -1
    this.complete = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.fail = reject
    })
    this.complete.catch(() => {}) // whoever waits is told; a failure before anybody waits is no crash
    this.deadline = setTimeout(() => this.fail(new Error(this.late())), Number(given.deadline_ms))
    this.complete.finally(() => clearTimeout(this.deadline)).catch(() => {})
    if (this.wanted === 0) this.resolve()
  }

  late() {
    return `read ${this.seen} of ${this.wanted} records before the deadline`
  }

  record(offset, timestamp, key, value) {
    if (this.seen >= this.wanted) return
    emit('record', [offset, timestamp, base64(key), base64(value)])
    this.seen++
    this.next = offset + 1
    if (this.seen === this.wanted) this.resolve()
  }
}

/** The options of `tls.connect` that verify a SASL_SSL listener's certificate; undefined for SASL_PLAINTEXT. */
function tlsOptions(given) {
  return given.security === 'SASL_SSL' ? { ca: [fs.readFileSync(given.ca)] } : undefined
}

function parse(line) {
  const [name, ...pairs] = line.split('\t')
  const given = {}
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    given[pair.slice(0, equals)] = pair.slice(equals + 1)
  }
  return [name, given]
}

/** Runs the scenarios that standard input asks for, one after the other, until it ends. */
async function serve(scenarios) {
  // A library's timer that throws is told on standard error; the scenario that waits for it ends at its deadline.
  process.on('uncaughtException', (error) => console.error(error))
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [name, given] = parse(line)
    try {
      emit('done', await scenarios[name](given))
    } catch (error) {
      console.error(error)
      emit('error', `${error.name}: ${error.message}`)
    }
  }
  process.exit(0)
}

module.exports = { Reading, serve, tlsOptions }

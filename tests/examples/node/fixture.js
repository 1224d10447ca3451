// `binwire fixture`: a server for one test run, whose changes come by call. It ends when its standard input does, and so
// with this process, however that ends. `GET /` of its address lists the calls.

const { spawn } = require("node:child_process");
const { createInterface } = require("node:readline");

class Fixture {
  static async start() {
    const command = process.env.BINWIRE || "binwire";
    const child = spawn(command, ["fixture"], { stdio: ["pipe", "pipe", "inherit"] });
    for await (const line of createInterface({ input: child.stdout })) {
      return new Fixture(child, JSON.parse(line).ready);
    }
    throw new Error(`${command} fixture did not start`);
  }

  constructor(child, ready) {
    this.child = child;
    this.url = ready.url;
    this.brokers = ready.bootstrap_servers;
  }

  /** The result of a call; rejected with the fixture's sentence where it cannot be done. */
  async call(name, args = {}) {
    const response = await fetch(`${this.url}/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(args),
    });
    const result = await response.json();
    if (!response.ok) {
      throw new Error(`${name}: ${result.error}`);
    }
    return result;
  }

  /** A fresh topic with a consumer group of its own; its `call` is about it. */
  async channel() {
    const made = await this.call("channel");
    const call = (name, args = {}) => this.call(name, { channel: made.channel, ...args });
    return { ...made, brokers: this.brokers, call };
  }

  stop() {
    this.child.stdin.end();
  }
}

module.exports = { Fixture };

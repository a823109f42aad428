// Starts the server under test through harness.py and restarts it by command; one answer line a command.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const LIMIT_MS = 120000;

export class Server {
    // kind: "cluster" for three nodes of Greenroom, whose addresses are in `bases`.
    static async start(kind = process.env.GREENROOM_SERVER ?? "greenroom") {
        const harness = process.env.GREENROOM_E2E + "/harness.py";
        const self = new Server();
        self.process = spawn("python3", [harness, "control", kind], {
            stdio: ["pipe", "pipe", "inherit"],
        });
        self.lines = createInterface({ input: self.process.stdout })[Symbol.asyncIterator]();
        Object.assign(self, await self.answer());
        return self;
    }

    async answer() {
        const line = await within(LIMIT_MS, "the server's start or restart", this.lines.next());
        if (line.done) throw new Error("the harness ended");
        return JSON.parse(line.value);
    }

    async command(name) {
        this.process.stdin.write(name + "\n");
        return this.answer();
    }

    async stop() {
        const { leaked } = await this.command("stop");
        if (leaked.length) throw new Error(`secrets were left behind: ${leaked.slice(0, 20)}`);
        this.process.stdin.end();
    }
}

export function within(ms, what, promise) {
    let timer;
    const limit = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what} did not come within ${ms} ms`)), ms);
    });
    return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

// Polls a condition, which may be asynchronous, until it gives something.
export async function until(what, condition, ms = 60000) {
    const end = Date.now() + ms;
    for (;;) {
        const found = await condition();
        if (found) return found;
        if (Date.now() > end) throw new Error(`${what} did not come within ${ms} ms`);
        await new Promise((done) => setTimeout(done, 20));
    }
}

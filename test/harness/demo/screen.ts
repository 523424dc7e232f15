import type { PodSummary } from '../pod-summary.ts';

const ESCAPE = '\u001b[';

/** Lines on a terminal, with a table that is redrawn in place; elsewhere plain lines, one for each change. */
export class Screen {
  private readonly live: boolean;
  private readonly colours: boolean;
  private readonly started = performance.now();
  private drawn = 0;
  private previous = new Map<string, string>();

  constructor() {
    this.live = process.stdout.isTTY === true;
    this.colours = this.live && process.env['NO_COLOR'] === undefined;
  }

  private colour(code: string, text: string): string {
    return this.colours ? `${ESCAPE}${code}m${text}${ESCAPE}0m` : text;
  }

  private stamp(): string {
    return this.colour('2', `${((performance.now() - this.started) / 1000).toFixed(1).padStart(6)} s`);
  }

  say(text: string): void {
    this.settle();
    console.log(`${this.stamp()}  ${text}`);
  }

  title(text: string): void {
    this.settle();
    console.log(`\n${this.stamp()}  ${this.colour('1', text)}`);
  }

  good(text: string): void {
    this.settle();
    console.log(`          ${this.colour('32', '✓')} ${text}`);
  }

  bad(text: string): void {
    this.settle();
    console.log(`          ${this.colour('31', '✗')} ${text}`);
  }

  detail(text: string): void {
    this.settle();
    for (const line of text.split('\n')) console.log(`            ${this.colour('2', line)}`);
  }

  /** Draws the table of pods, over the last one where nothing was printed in between. */
  table(pods: readonly PodSummary[]): void {
    const rows = pods.map((pod) => [pod.name, pod.ready, pod.state, String(pod.restarts), pod.ip]);
    if (!this.live) {
      for (const [name = '', ...rest] of rows) {
        const text = rest.join('  ');
        if (this.previous.get(name) !== text) this.say(`pod ${name.padEnd(12)} ${text}`);
        this.previous.set(name, text);
      }
      return;
    }
    const all = [['NAME', 'READY', 'STATUS', 'RESTARTS', 'IP'], ...rows];
    const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
    const lines = all.map((row, index) => {
      const text = row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('   ');
      const [ready = '', total] = (row[1] ?? '').split('/');
      const done = ready === total || row[2] === 'Completed';
      return `            ${index === 0 ? this.colour('1', text) : this.colour(done ? '32' : '33', text)}`;
    });
    if (this.drawn > 0) process.stdout.write(`${ESCAPE}${this.drawn}A${ESCAPE}J`);
    process.stdout.write(`${lines.join('\n')}\n`);
    this.drawn = lines.length;
  }

  /** What is printed from now on comes below the table. */
  settle(): void {
    this.drawn = 0;
  }
}

import { execFile } from 'node:child_process';
import http from 'node:http';
import { machines } from './pair.ts';

const [, second] = machines;
/** The machine that does what the other one asks it to. */
export const NEIGHBOUR: string = second.name;
const PORT = 9000;
const LIMIT_MS = 10 * 60_000;

interface Answer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs what it is sent, for as long as the machine runs. The cable leads to one other machine of the test and nowhere else. */
export async function answerNeighbour(): Promise<void> {
  const server = http.createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const [file = '', ...args] = JSON.parse(body) as readonly string[];
      const child = execFile(file, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        const answer: Answer = { code, stdout, stderr: stderr === '' && error !== null ? error.message : stderr };
        response.end(JSON.stringify(answer));
      });
      child.stdin?.end();
    });
  });
  server.requestTimeout = 0;
  await new Promise<void>((resolve) => server.listen(PORT, second.ip, resolve));
}

/** Runs a program on the other machine; throws with what it wrote when it fails. */
export async function runThere(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Promise<Answer>((resolve, reject) => {
    const request = http.request(
      { host: second.ip, port: PORT, method: 'POST', agent: false, timeout: LIMIT_MS },
      (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () => resolve(JSON.parse(body) as Answer));
        response.on('error', reject);
      },
    );
    request.on('error', reject);
    request.on('timeout', () => request.destroy(new Error(`${NEIGHBOUR} did not answer`)));
    request.end(JSON.stringify(argv));
  });
  if (code !== 0) throw new Error(`${argv.join(' ')} on ${NEIGHBOUR}: ${code} ${stderr} ${stdout}`.slice(0, 2000));
  return stdout;
}

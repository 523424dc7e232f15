// Adds to package-lock.json the optional packages of other platforms that `npm install` leaves out where the registry in
// use does not carry them; `npm ci` refuses a lock without them, although it would skip them on this platform. Run it
// after `npm install`. Names and versions are those that the parents' optionalDependencies ask for.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const file = join(dirname(fileURLToPath(import.meta.url)), '..', 'package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8'));

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32'];
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64'];

/** Whether a package at `path` finds `name`: in its own node_modules or in one above. */
function resolves(path, name) {
  for (let base = path; ; base = base.slice(0, Math.max(0, base.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${base === '' ? '' : `${base}/`}node_modules/${name}`] !== undefined) return true;
    if (base === '') return false;
  }
}

const added = {};
for (const [path, { optionalDependencies = {}, dev }] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    if (resolves(path, name)) continue;
    // Such as @biomejs/cli-linux-arm64-musl.
    const words = name.split('/').at(-1).split('-');
    const os = SYSTEMS.find((system) => words.includes(system));
    const cpu = PROCESSORS.find((processor) => words.includes(processor));
    if (os === undefined || !/^\d/.test(version)) {
      throw new Error(`${path} wants ${name}@${version}, whose platform and version its name does not tell`);
    }
    const musl = words.some((word) => word.startsWith('musl'));
    added[`node_modules/${name}`] = {
      version,
      ...(cpu !== undefined && { cpu: [cpu] }),
      ...(dev && { dev: true }),
      ...(os === 'linux' && { libc: [musl ? 'musl' : 'glibc'] }),
      optional: true,
      os: [os],
    };
  }
}

const { '': root, ...packages } = lock.packages;
const sorted = Object.entries({ ...packages, ...added }).sort(([a], [b]) => (a < b ? -1 : 1));
lock.packages = { '': root, ...Object.fromEntries(sorted) };
if (Object.keys(added).length > 0) writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`);
console.log(`package-lock.json: ${Object.keys(added).length} optional packages of other platforms added`);

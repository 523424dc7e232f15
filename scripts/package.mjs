// npm run package [-- --output DIR --version VERSION]: builds dist/deckhand_VERSION_all.deb. Needs dpkg-deb, which every
// Debian has; what is in the package does not depend on the machine that builds it.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { startOf } from './unit-start.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const { values } = parseArgs({
  options: {
    output: { type: 'string', default: join(root, 'dist') },
    version: { type: 'string', default: manifest.version },
  },
});
if (!/^\d[\w.+~-]*$/.test(values.version)) {
  console.error(`package: --version is ${values.version}; expected a Debian version such as ${manifest.version}`);
  process.exit(2);
}
const bundle = join(root, 'dist', 'deckhand.mjs');
if (!existsSync(bundle)) {
  console.error('package: dist/deckhand.mjs is not there; run: npm ci && npm run generate && npm run build');
  process.exit(1);
}

const tree = mkdtempSync(join(tmpdir(), 'deckhand-deb-'));
// It becomes the package's "/".
chmodSync(tree, 0o755);
const put = (path, content, mode = 0o644) => {
  const file = join(tree, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  chmodSync(file, mode);
};
const copy = (from, to, mode = 0o644) => put(to, readFileSync(join(root, from)), mode);
// Without a name and a time inside, the same text gives the same file.
const zipped = (from, to) => put(to, gzipSync(readFileSync(join(root, from)), { level: 9 }));

try {
  copy('dist/deckhand.mjs', 'usr/lib/deckhand/deckhand.mjs');
  put('usr/bin/deckhand', command(), 0o755);
  copy('systemd/deckhand.service', 'usr/lib/systemd/system/deckhand.service');
  copy('packaging/deckhand.default', 'etc/default/deckhand');
  copy('packaging/config.yaml', 'etc/deckhand/config.yaml');
  mkdirSync(join(tree, 'etc/deckhand/manifests'), { recursive: true });
  zipped('packaging/deckhand.8', 'usr/share/man/man8/deckhand.8.gz');
  put('usr/share/bash-completion/completions/deckhand', completion());
  const docs = 'usr/share/doc/deckhand';
  copy('README.md', `${docs}/README.md`);
  copy('LICENSE', `${docs}/copyright`);
  zipped('CHANGELOG.md', `${docs}/changelog.gz`);
  for (const name of readdirSync(join(root, 'docs'))) copy(`docs/${name}`, `${docs}/${name}`);
  cpSync(join(root, 'examples'), join(tree, docs, 'examples'), { recursive: true });

  put('DEBIAN/control', control());
  put('DEBIAN/conffiles', '/etc/default/deckhand\n/etc/deckhand/config.yaml\n');
  for (const name of ['postinst', 'prerm', 'postrm']) copy(`packaging/${name}`, `DEBIAN/${name}`, 0o755);

  mkdirSync(values.output, { recursive: true });
  const file = join(values.output, `deckhand_${values.version}_all.deb`);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, file], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, SOURCE_DATE_EPOCH: process.env.SOURCE_DATE_EPOCH ?? String(lastChange()) },
  });
  console.log(`package: ${file} ${Math.ceil(statSync(file).size / 1024)} KiB`);
} finally {
  rmSync(tree, { recursive: true, force: true });
}

function control() {
  return `Package: deckhand
Version: ${values.version}
Architecture: all
Maintainer: deckhand maintainers <maintainers@deckhand.invalid>
Section: admin
Priority: optional
Installed-Size: ${Math.ceil(sizeOf(tree) / 1024)}
Depends: nodejs (>= 20.19), containerd | containerd.io, runc | containerd.io, iptables, nftables, ipset, conntrack, iproute2, mount, util-linux
Recommends: containernetworking-plugins, kmod
Suggests: kubernetes-client, ipvsadm, nfs-common
Description: ${manifest.description}
 Runs the pods of a node in containerd, probes and limits them, and leads Services
 to them with rules in the kernel, in the place of kubelet and kube-proxy: as a
 node of a Kubernetes cluster, or on its own with an API on loopback.
`;
}

/** The flags are those that \`deckhand run --help\` lists. */
function completion() {
  const help = execFileSync(process.execPath, [bundle, 'run', '--help'], { encoding: 'utf8' });
  const flags = [...new Set(help.match(/^ {2}(--[\w-]+)/gm)?.map((flag) => flag.trim()))].sort();
  if (flags.length < 20) throw new Error(`package: deckhand run --help lists only ${flags.length} flags`);
  return `# bash completion for deckhand(8)
_deckhand() {
  local cur=\${COMP_WORDS[COMP_CWORD]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "run drain cordon uncordon config manifests explain plan proxy version" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "${flags.join(' ')}" -- "$cur"))
  elif [ "$COMP_CWORD" -eq 2 ] && [[ \${COMP_WORDS[1]} == config || \${COMP_WORDS[1]} == manifests ]]; then
    COMPREPLY=($(compgen -W check -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}
complete -o filenames -F _deckhand deckhand
`;
}

function sizeOf(directory) {
  return readdirSync(directory, { withFileTypes: true, recursive: true }).reduce(
    (sum, entry) => sum + (entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 0),
    0,
  );
}

/** Seconds since the epoch of the last commit; outside of a checkout, of the bundle. */
function lastChange() {
  try {
    return execFileSync('git', ['-C', root, 'log', '-1', '--format=%ct'], { encoding: 'utf8' }).trim();
  } catch {
    return Math.floor(statSync(bundle).mtimeMs / 1000);
  }
}

/** /usr/bin/deckhand: Node as the unit starts it, with the same limits of memory; what the caller has set stays. */
function command() {
  const unit = readFileSync(join(root, 'systemd/deckhand.service'), 'utf8');
  const { env, argv } = startOf(unit);
  const exports = Object.entries(env).map(([name, value]) => `export ${name}="\${${name}:-${value}}"\n`);
  return `#!/bin/sh\n${exports.join('')}exec ${argv.join(' ')} "$@"\n`;
}

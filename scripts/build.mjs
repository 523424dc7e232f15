// Bundles the daemon and the tools around it into dist/, one ES module each. Usage: build.mjs [name …] (default: all).
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const started = performance.now();
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** Output name → entry point. What is imported lazily stays lazy: esbuild wraps it in a function that runs once. */
const entries = {
  deckhand: 'src/main.ts',
  demo: 'test/harness/demo/main.ts',
  'test-tiers': 'test/harness/test-tiers.ts',
  'test-vm': 'test/vm/host/main.ts',
  'vm-guest': 'test/vm/guest/main.ts',
};
for (const file of existsSync(join(root, 'bench')) ? readdirSync(join(root, 'bench')) : []) {
  if (file.endsWith('.ts') && !file.endsWith('.test.ts')) entries[`bench-${basename(file, '.ts')}`] = `bench/${file}`;
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in entries));
if (unknown.length > 0) {
  console.error(`build: no bundle called ${unknown.join(', ')}; there are ${Object.keys(entries).join(', ')}`);
  process.exit(1);
}

const names = wanted.length > 0 ? wanted : Object.keys(entries);
const missing = names.filter((name) => !existsSync(join(root, entries[name])));
if (missing.length > 0) {
  console.error(`build: ${missing.map((name) => entries[name]).join(', ')} not found`);
  process.exit(1);
}

mkdirSync(join(root, 'dist'), { recursive: true });
if (wanted.length === 0) {
  // A bundle whose source has gone must not be run by mistake.
  for (const file of readdirSync(join(root, 'dist'))) {
    const name = file.replace(/\.mjs(\.map)?$/, '');
    if (name !== file && !(name in entries)) rmSync(join(root, 'dist', file));
  }
}

await Promise.all(
  names.map((name) =>
    build({
      absWorkingDir: root,
      entryPoints: [entries[name]],
      outfile: `dist/${name}.mjs`,
      bundle: true,
      platform: 'node',
      target: 'node20.19',
      format: 'esm',
      // "module" first: some dependencies' CommonJS entries pull in more than their ES modules do.
      mainFields: ['module', 'main'],
      // The source text stays in memory for as long as the process lives; one character beyond Latin-1 doubles it.
      minifySyntax: true,
      minifyWhitespace: true,
      sourcemap: 'linked',
      legalComments: 'none',
      charset: 'ascii',
      logLevel: 'warning',
      define: { 'process.env.DECKHAND_VERSION': JSON.stringify(version) },
      banner: {
        // CommonJS dependencies call require for Node's own modules; an ES module has none unless it makes one.
        js: [
          '#!/usr/bin/env node',
          "import { createRequire as __createRequire } from 'node:module';",
          "import { fileURLToPath as __fileURLToPath } from 'node:url';",
          "import { dirname as __pathDirname } from 'node:path';",
          'const require = __createRequire(import.meta.url);',
          'const __filename = __fileURLToPath(import.meta.url);',
          'const __dirname = __pathDirname(__filename);',
        ].join('\n'),
      },
    }),
  ),
);

for (const name of names) {
  const kib = Math.round(statSync(join(root, 'dist', `${name}.mjs`)).size / 1024);
  console.log(`build: dist/${name}.mjs ${kib} KiB`);
}
console.log(`build: ${names.length} bundle(s) in ${Math.round(performance.now() - started)} ms`);

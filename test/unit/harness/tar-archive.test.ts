import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { ociImage } from '../../harness/oci-image.ts';
import { type TarEntry, tarArchive } from '../../harness/tar-archive.ts';

const entries: readonly TarEntry[] = [
  { type: 'directory', path: 'tmp', mode: 0o1777 },
  { type: 'file', path: 'bin/tool', mode: 0o755, content: 'x'.repeat(513) },
  { type: 'symlink', path: 'bin/alias', target: 'tool' },
];

describe('tarArchive', () => {
  it('is read by tar(1) with types, modes, sizes and targets', () => {
    const listing = execFileSync('tar', ['--list', '--verbose', '--file=-'], {
      input: tarArchive(entries),
      encoding: 'utf8',
    });
    const lines = listing.trim().split('\n');
    expect(lines[0]).toMatch(/^drwxrwxrwt (?:root\/root|0\/0) +0 .* tmp\/$/);
    expect(lines[1]).toMatch(/^-rwxr-xr-x (?:root\/root|0\/0) +513 .* bin\/tool$/);
    expect(lines[2]).toMatch(/^lrwxrwxrwx .* bin\/alias -> tool$/);
  });

  it('gives back the content of a file', () => {
    const content = execFileSync('tar', ['--extract', '--to-stdout', '--file=-', 'bin/tool'], {
      input: tarArchive(entries),
    });
    expect(content.toString()).toBe('x'.repeat(513));
  });

  it('refuses a path that ustar cannot hold', () => {
    expect(() => tarArchive([{ type: 'file', path: 'a'.repeat(101), content: '' }])).toThrow(/longer than 100 bytes/);
  });
});

describe('ociImage', () => {
  it('makes the same bytes from the same entries, and others from others', () => {
    const image = ociImage('deckhand.local/a:1', entries, { Cmd: ['/bin/tool'] });
    expect(image.equals(ociImage('deckhand.local/a:1', entries, { Cmd: ['/bin/tool'] }))).toBe(true);
    expect(image.equals(ociImage('deckhand.local/a:1', entries, { Cmd: ['/bin/alias'] }))).toBe(false);
  });
});

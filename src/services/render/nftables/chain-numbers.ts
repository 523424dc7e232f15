import type { Hash } from './words.ts';

/**
 * Numbers by which packets are sent to chains, as nft prints a classid: "1a2b:3c4d". A chain's number comes from its
 * name, so that a restart finds it as it wants it; in the rare case that two names meet, the second one takes the next.
 */
export class ChainNumbers {
  private readonly hash: Hash;
  private readonly byChain = new Map<string, string>();
  private readonly byNumber = new Map<string, string>();

  constructor(hash: Hash) {
    this.hash = hash;
  }

  /** What the kernel has already. */
  adopt(number: string, chain: string): void {
    this.byChain.set(chain, number);
    this.byNumber.set(number, chain);
  }

  of(chain: string): string {
    const known = this.byChain.get(chain);
    if (known !== undefined) return known;
    const [a = 0, b = 0, c = 0, d = 0] = this.hash(chain);
    for (let value = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0; ; value = (value + 1) >>> 0) {
      const number = `${(value >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;
      // These have names: "none" and "root".
      if (value === 0 || value === 0xffff_ffff || this.byNumber.has(number)) continue;
      this.adopt(number, chain);
      return number;
    }
  }

  chain(number: string): string {
    return this.byNumber.get(number) ?? '';
  }

  /** The chain is gone. */
  forget(chain: string): void {
    const number = this.byChain.get(chain);
    this.byChain.delete(chain);
    if (number !== undefined) this.byNumber.delete(number);
  }
}

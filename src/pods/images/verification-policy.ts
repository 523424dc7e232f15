import { CodedError } from '../../kit/errors.ts';
import { nameWithoutTag } from './image-name.ts';

export type VerificationPolicyName =
  | 'NeverVerify'
  | 'NeverVerifyPreloadedImages'
  | 'NeverVerifyAllowlistedImages'
  | 'AlwaysVerify';

/** Whether a pod must prove access to an image that is on the node already. `pulledHere`: the node's agent pulled it. */
export type VerificationPolicy = (image: string, pulledHere: boolean) => boolean;

/** KubeletConfiguration imagePullCredentialsVerificationPolicy (KEP-2535). Throws InvalidConfig for a bad pattern. */
export function verificationPolicy(name: VerificationPolicyName, allowlist: readonly string[]): VerificationPolicy {
  switch (name) {
    case 'NeverVerify':
      return () => false;
    case 'NeverVerifyPreloadedImages':
      return (_image, pulledHere) => pulledHere;
    case 'AlwaysVerify':
      return () => true;
    case 'NeverVerifyAllowlistedImages': {
      const allowed = allowlist.map(readPattern);
      return (image) => {
        const plain = nameWithoutTag(image) ?? image;
        return !allowed.some(({ text, isPrefix }) => (isPrefix ? plain.startsWith(text) : plain === text));
      };
    }
  }
}

/** An image name without tag and digest, or such a beginning of names as "registry.example.com/team/*". */
function readPattern(pattern: string): { readonly text: string; readonly isPrefix: boolean } {
  const bad = (why: string): CodedError =>
    new CodedError('InvalidConfig', `preloadedImagesVerificationAllowlist: ${JSON.stringify(pattern)} ${why}`, {
      pattern,
    });
  if (pattern !== pattern.trim()) throw bad('must have no spaces around it');
  const isPrefix = pattern.endsWith('/*');
  const text = isPrefix ? pattern.slice(0, -1) : pattern;
  if (text === '' || text === '/') throw bad('must name at least a registry');
  if (text.includes('*')) throw bad('may have a wildcard at its end only, as "/*"');
  if (!isPrefix && nameWithoutTag(text) !== text) throw bad('must be an image name without tag and digest');
  return { text, isPrefix };
}

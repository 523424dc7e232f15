import { type Exchange, sendText } from '../router.ts';

/** Longer is no number. */
const LONGEST = 64;
const LARGEST = 2 ** 32 - 1;

/** PUT /debug/flags/v: how much is logged from now on (component-base logs.GlogSetter). */
export async function serveVerbosity(
  { request, response }: Exchange,
  setVerbosity: (verbosity: number) => void,
): Promise<void> {
  if (request.method !== 'PUT') return sendText(response, 406, 'unsupported http method');
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > LONGEST) break;
  }
  const quoted = JSON.stringify(text.slice(0, LONGEST));
  if (!/^\d+$/.test(text)) return sendText(response, 400, `strconv.ParseUint: parsing ${quoted}: invalid syntax`);
  const verbosity = Number(text);
  if (verbosity > LARGEST) return sendText(response, 400, `strconv.ParseUint: parsing ${quoted}: value out of range`);
  setVerbosity(verbosity);
  sendText(response, 200, `successfully set klog.logging.verbosity to ${text}`);
}

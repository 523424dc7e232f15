import { readFileSync } from 'node:fs';
import https from 'node:https';

interface Kubeconfig {
  readonly clusters: readonly { readonly cluster: Readonly<Record<string, string>> }[];
  readonly users: readonly { readonly user: Readonly<Record<string, string>> }[];
}

/**
 * Reads from the embedded API with the administrator's kubeconfig. What is asked for again and again is asked for this way:
 * kubectl takes an emulated processor two seconds.
 */
export class Api {
  private readonly kubeconfig: string;

  constructor(kubeconfig: string) {
    this.kubeconfig = kubeconfig;
  }

  async read<T>(path: string): Promise<T> {
    return JSON.parse(await this.text(path)) as T;
  }

  text(path: string): Promise<string> {
    const { clusters, users }: Kubeconfig = JSON.parse(readFileSync(this.kubeconfig, 'utf8'));
    const [{ cluster } = { cluster: {} }] = clusters;
    const [{ user } = { user: {} }] = users;
    const pem = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64');
    const options: https.RequestOptions = {
      agent: false,
      timeout: 60_000,
      ca: pem(cluster['certificate-authority-data']),
      cert: pem(user['client-certificate-data']),
      key: pem(user['client-key-data']),
    };
    return new Promise((resolve, reject) => {
      const request = https.get(`${cluster['server']}${path}`, options, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
        });
        response.on('end', () =>
          response.statusCode === 200 ? resolve(body) : reject(new Error(`${path}: ${response.statusCode} ${body}`)),
        );
        response.on('error', reject);
      });
      request.on('error', reject);
      request.on('timeout', () => request.destroy(new Error(`${path}: no answer within a minute`)));
    });
  }
}

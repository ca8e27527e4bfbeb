/** Records made by dynamic update (RFC 2136) at the zone's primary name server, over TCP, signed where there is a key. */
import { randomInt } from 'node:crypto';
import { lookup as resolveHost } from 'node:dns/promises';
import net from 'node:net';
import { ChallengeError } from './challenge_error.ts';
import type { RecordEditor, TxtRecord } from './dns01.ts';
import { withPort } from './dns_lookup.ts';
import type { DnsLookup } from './dns_lookup.ts';
import { DnsMessageError, encodeUpdate, RCODE, readUpdateAnswer, signMessage } from './dns_message.ts';
import type { UpdateAnswer } from './dns_message.ts';
import type { DnsConfig } from '../../config/config.ts';

const TIMEOUT_MS = 10_000;

export type Rfc2136Options = Omit<Extract<DnsConfig['method'], { type: 'rfc2136' }>, 'type'> & {
  readonly lookup: DnsLookup;
};

export function createRfc2136(options: Rfc2136Options): RecordEditor {
  const { host, port, key, lookup } = options;
  const server = withPort(host, port);

  const zoneOf = async ({ name, zone }: TxtRecord): Promise<string> => {
    if (options.zone !== null) return options.zone;
    // The server knows best which zones it has; one that answers no questions leaves it to the resolvers.
    const found = (await lookup.zoneOf(name, withPort(await addressOf(host), port))) ?? zone;
    if (found !== null) return found;
    throw new ChallengeError(
      'NO_ZONE',
      `no zone has ${name}: neither ${server} nor the resolvers name one; set acme.dns.rfc2136.zone`,
    );
  };

  const change = async (record: TxtRecord, ttlSeconds: number | null, signal: AbortSignal): Promise<void> => {
    const zone = await zoneOf(record);
    const id = randomInt(0x10000);
    const update = encodeUpdate({ id, zone, name: record.name, value: record.value, ttlSeconds });
    const signed =
      key === null
        ? { message: update, mac: Buffer.alloc(0) }
        : signMessage(update, key, Math.floor(Date.now() / 1000));
    let answer: UpdateAnswer;
    try {
      answer = readUpdateAnswer(await exchange(host, port, signed.message, signal), id, key, signed.mac);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const what =
        error instanceof DnsMessageError
          ? `the name server ${server} answered, but ${why}`
          : `the name server ${server} cannot be reached: ${why}`;
      throw new ChallengeError('UPDATE_UNREACHABLE', what, { cause: error });
    }
    const refused = reasonOf(answer, zone, record.name, key?.name ?? null);
    if (refused !== null) throw new ChallengeError('UPDATE_REFUSED', `the name server ${server} ${refused}`);
  };

  return {
    add: (record, signal) => change(record, options.ttlSeconds, signal),
    remove: (record) => change(record, null, AbortSignal.timeout(TIMEOUT_MS)),
  };
}

/** null: it was done. */
function reasonOf(
  { rcode, tsigError, authentic }: UpdateAnswer,
  zone: string,
  name: string,
  key: string | null,
): string | null {
  switch (tsigError) {
    case RCODE.BADKEY:
      return `does not know the TSIG key ${key} (BADKEY); see acme.dns.rfc2136.key_name and algorithm`;
    case RCODE.BADSIG:
      return `has another secret for the TSIG key ${key} (BADSIG); see acme.dns.rfc2136.key_secret`;
    case RCODE.BADTIME:
      return 'has a clock that is more than five minutes away from ours (BADTIME)';
  }
  switch (rcode) {
    case RCODE.NOERROR:
      return key === null || authentic ? null : `gave an answer that is not signed by the TSIG key ${key}`;
    case RCODE.REFUSED:
      return key === null
        ? `refuses to change ${zone} (REFUSED): it may want a TSIG key; see acme.dns.rfc2136.key_name`
        : `refuses to let the TSIG key ${key} change ${name} in ${zone} (REFUSED); see its update-policy or allow-update`;
    case RCODE.NOTAUTH:
      return `is not the primary of the zone ${zone} (NOTAUTH); see acme.dns.rfc2136.server and zone`;
    case RCODE.NOTZONE:
      return `says that ${name} is not within the zone ${zone} (NOTZONE); see acme.dns.rfc2136.zone`;
    case RCODE.SERVFAIL:
      return `could not change ${zone} (SERVFAIL); its log says why`;
    case RCODE.NOTIMP:
      return 'knows no dynamic updates (NOTIMP)';
    default:
      return `answered with code ${rcode}`;
  }
}

async function addressOf(host: string): Promise<string> {
  if (net.isIP(host) !== 0) return host;
  try {
    return (await resolveHost(host)).address;
  } catch (error) {
    throw new ChallengeError('UPDATE_UNREACHABLE', `the name server ${host} has no address`, { cause: error });
  }
}

/** One message each way; RFC 1035 section 4.2.2: each behind its length. */
function exchange(host: string, port: number, message: Buffer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    if (limit.aborted) return reject(limit.reason as Error);
    const socket = net.connect({ host, port });
    const onAbort = (): void =>
      void socket.destroy(signal.aborted ? (signal.reason as Error) : new Error('no answer within 10 s'));
    limit.addEventListener('abort', onAbort, { once: true });
    let received: Buffer = Buffer.alloc(0);
    socket.on('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
    });
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      resolve(received.subarray(2, 2 + length));
      socket.destroy();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      limit.removeEventListener('abort', onAbort);
      reject(new Error('it closed the connection without an answer'));
    });
  });
}

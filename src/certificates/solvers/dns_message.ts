/** The few DNS messages a dynamic update needs (RFC 1035, RFC 2136), signed by TSIG (RFC 8945). */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { TsigAlgorithm } from '../../config/config.ts';

const TYPE = { SOA: 6, TXT: 16, TSIG: 250 } as const;
const CLASS = { IN: 1, NONE: 254, ANY: 255 } as const;
/** QR 0, opcode 5. */
const UPDATE = 5 << 11;
const HEADER_BYTES = 12;
/** RFC 8945 section 10: how far clocks may be apart. */
const FUDGE_SECONDS = 300;
const MAX_STRING = 255;

export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  NOTAUTH: 9,
  NOTZONE: 10,
  BADSIG: 16,
  BADKEY: 17,
  BADTIME: 18,
} as const;

export interface TsigKey {
  readonly name: string;
  readonly algorithm: TsigAlgorithm;
  /** Base64. */
  readonly secret: string;
}

export interface TxtChange {
  readonly id: number;
  readonly zone: string;
  readonly name: string;
  readonly value: string;
  /** null: this one record is removed. */
  readonly ttlSeconds: number | null;
}

/** An answer that is none. */
export class DnsMessageError extends Error {}

export function encodeUpdate({ id, zone, name, value, ttlSeconds }: TxtChange): Buffer {
  const data = Buffer.from(value, 'latin1');
  if (data.length > MAX_STRING) throw new DnsMessageError('a TXT string is longer than 255 bytes');
  const rdata = Buffer.concat([Buffer.from([data.length]), data]);
  return Buffer.concat([
    uint16(id, UPDATE, 1, 0, 1, 0),
    encodeName(zone),
    uint16(TYPE.SOA, CLASS.IN),
    encodeName(name),
    // RFC 2136 section 2.5.4: to delete a record is to name it in class NONE.
    uint16(TYPE.TXT, ttlSeconds === null ? CLASS.NONE : CLASS.IN),
    uint32(ttlSeconds ?? 0),
    uint16(rdata.length),
    rdata,
  ]);
}

export interface SignedMessage {
  readonly message: Buffer;
  /** The answer's signature covers it. */
  readonly mac: Buffer;
}

/** `seconds` since the epoch. */
export function signMessage(message: Buffer, key: TsigKey, seconds: number): SignedMessage {
  const fields: TsigFields = { seconds, fudge: FUDGE_SECONDS, error: 0, other: Buffer.alloc(0) };
  const mac = macOf(key, [message, variablesOf(key, fields)]);
  const algorithm = encodeName(key.algorithm);
  const rdata = Buffer.concat([
    algorithm,
    uint48(seconds),
    uint16(FUDGE_SECONDS, mac.length),
    mac,
    uint16(message.readUInt16BE(0), 0, 0),
  ]);
  const signed = Buffer.concat([
    message,
    encodeName(key.name),
    uint16(TYPE.TSIG, CLASS.ANY),
    uint32(0),
    uint16(rdata.length),
    rdata,
  ]);
  signed.writeUInt16BE(message.readUInt16BE(10) + 1, 10);
  return { message: signed, mac };
}

export interface UpdateAnswer {
  readonly rcode: number;
  /** Of the TSIG record: more exact than the rcode; 0 without one. */
  readonly tsigError: number;
  /** Signed by the key the request was signed with. */
  readonly authentic: boolean;
}

/** Throws a `DnsMessageError` for what is no answer to `id`. */
export function readUpdateAnswer(answer: Buffer, id: number, key: TsigKey | null, requestMac: Buffer): UpdateAnswer {
  try {
    if (answer.length < HEADER_BYTES || answer.readUInt16BE(0) !== id || (answer.readUInt8(2) & 0x80) === 0) {
      throw new DnsMessageError('it is no answer to what was asked');
    }
    const rcode = answer.readUInt16BE(2) & 0x0f;
    const tsig = findTsig(answer);
    if (tsig === null) return { rcode, tsigError: 0, authentic: false };
    return { rcode, tsigError: tsig.error, authentic: key !== null && isAuthentic(answer, tsig, key, requestMac) };
  } catch (error) {
    if (error instanceof DnsMessageError) throw error;
    throw new DnsMessageError('it cannot be read', { cause: error });
  }
}

interface TsigFields {
  readonly seconds: number;
  readonly fudge: number;
  readonly error: number;
  readonly other: Buffer;
}

interface TsigRecord extends TsigFields {
  /** Where it begins: it is the last record. */
  readonly at: number;
  readonly name: string;
  readonly algorithm: string;
  readonly mac: Buffer;
}

function findTsig(message: Buffer): TsigRecord | null {
  let at = HEADER_BYTES;
  for (let i = message.readUInt16BE(4); i > 0; i--) at = readName(message, at).end + 4;
  const records = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  for (let i = 0; i < records; i++) {
    const begin = at;
    const { name, end } = readName(message, at);
    const type = message.readUInt16BE(end);
    const data = end + 10;
    at = data + message.readUInt16BE(end + 8);
    if (type !== TYPE.TSIG || i !== records - 1) continue;
    const algorithm = readName(message, data);
    const fields = algorithm.end;
    const macEnd = fields + 10 + message.readUInt16BE(fields + 8);
    const otherAt = macEnd + 6;
    return {
      at: begin,
      name,
      algorithm: algorithm.name,
      seconds: message.readUIntBE(fields, 6),
      fudge: message.readUInt16BE(fields + 6),
      mac: message.subarray(fields + 10, macEnd),
      error: message.readUInt16BE(macEnd + 2),
      other: message.subarray(otherAt, otherAt + message.readUInt16BE(macEnd + 4)),
    };
  }
  return null;
}

/** RFC 8945 section 5.3: its signature covers the request's, itself without the record, and what the record says. */
function isAuthentic(message: Buffer, tsig: TsigRecord, key: TsigKey, requestMac: Buffer): boolean {
  if (tsig.name !== key.name.toLowerCase().replace(/\.$/, '') || tsig.algorithm !== key.algorithm) return false;
  const bare = Buffer.from(message.subarray(0, tsig.at));
  bare.writeUInt16BE(bare.readUInt16BE(10) - 1, 10);
  const mac = macOf(key, [uint16(requestMac.length), requestMac, bare, variablesOf(key, tsig)]);
  return mac.length === tsig.mac.length && timingSafeEqual(mac, tsig.mac);
}

function variablesOf(key: TsigKey, { seconds, fudge, error, other }: TsigFields): Buffer {
  return Buffer.concat([
    encodeName(key.name.toLowerCase()),
    uint16(CLASS.ANY),
    uint32(0),
    encodeName(key.algorithm),
    uint48(seconds),
    uint16(fudge, error, other.length),
    other,
  ]);
}

function macOf(key: TsigKey, parts: readonly Buffer[]): Buffer {
  const hmac = createHmac(key.algorithm.replace('hmac-', ''), Buffer.from(key.secret, 'base64'));
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

function encodeName(name: string): Buffer {
  const parts: Buffer[] = [];
  for (const label of name.replace(/\.$/, '').split('.')) {
    const bytes = Buffer.from(label, 'latin1');
    if (bytes.length === 0 || bytes.length > 63) throw new DnsMessageError(`"${name}" is no domain name`);
    parts.push(Buffer.from([bytes.length]), bytes);
  }
  parts.push(Buffer.from([0]));
  return Buffer.concat(parts);
}

/** In lower case. */
function readName(message: Buffer, begin: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = begin;
  let end = -1;
  // Names point backwards, so a message cannot have more of them than this.
  for (let steps = 0; steps < 128; steps++) {
    const length = message.readUInt8(at);
    if (length === 0) return { name: labels.join('.').toLowerCase(), end: end < 0 ? at + 1 : end };
    if (length >= 0xc0) {
      if (end < 0) end = at + 2;
      at = message.readUInt16BE(at) & 0x3fff;
    } else {
      labels.push(message.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
  }
  throw new DnsMessageError('a name in it has no end');
}

function uint16(...values: readonly number[]): Buffer {
  const out = Buffer.alloc(2 * values.length);
  values.forEach((value, i) => out.writeUInt16BE(value, 2 * i));
  return out;
}

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

function uint48(value: number): Buffer {
  const out = Buffer.alloc(6);
  out.writeUIntBE(value, 0, 6);
  return out;
}

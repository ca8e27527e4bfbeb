/** The reader that judges must itself be right: each verdict it can give, once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAll, readMessage } from './strict_reader.ts';
import type { Message } from './strict_reader.ts';

const HOST = 'Host: a\r\n';
const CHUNKED = `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;

function message(text: string): Message {
  const reading = readMessage(text);
  assert.equal(reading.kind, 'message', JSON.stringify(reading));
  return reading.kind === 'message' ? reading.message : assert.fail();
}

test('reads the three framings', () => {
  const none = message(`GET /a?b HTTP/1.1\r\n${HOST}X:\t 1 \r\n\r\nrest`);
  assert.deepEqual([none.method, none.target, none.framing, none.body], ['GET', '/a?b', 'none', '']);
  assert.deepEqual(none.fields, [
    ['Host', 'a'],
    ['X', '1'],
  ]);
  assert.equal(message(`PUT / HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\nhirest`).body, 'hi');
  const chunked = message(`${CHUNKED}2;a="b;\\"";c\r\nhi\r\n1\r\n!\r\n0\r\nT: x\r\n\r\nrest`);
  assert.deepEqual([chunked.body, chunked.decorated, chunked.framing], ['hi!', true, 'chunked']);
  assert.ok(chunked.raw.endsWith('T: x\r\n\r\n'));
});

test('tells what is ambiguous from what is invalid', () => {
  const ambiguous = [
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: 1\r\ncontent-length: 1\r\n\r\nx`,
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}${HOST}\r\n`,
  ];
  const invalid = [
    'GET / HTTP/1.1\r\n\r\n',
    `GET  / HTTP/1.1\r\n${HOST}\r\n`,
    `GET / HTTP/1.1\n${HOST}\r\n`,
    `GET /#a HTTP/1.1\r\n${HOST}\r\n`,
    `GET /%zz HTTP/1.1\r\n${HOST}\r\n`,
    `GET * HTTP/1.1\r\n${HOST}\r\n`,
    `GET / HTTP/2.0\r\n${HOST}\r\n`,
    'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
    `GET / HTTP/1.1\r\n${HOST}X : 1\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST} X: 1\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}X: 1\n\r\n\r\n`,
    `GET / HTTP/1.1\r\n${HOST}X: \0\r\n\r\n`,
    `POST / HTTP/1.1\r\n${HOST}Content-Length: +1\r\n\r\nx`,
    `${CHUNKED}0x1\r\nx\r\n0\r\n\r\n`,
    `${CHUNKED}1 \r\nx\r\n0\r\n\r\n`,
    `${CHUNKED}1\r\nxy\r\n0\r\n\r\n`,
    `${CHUNKED}1;a="\r\nx\r\n0\r\n\r\n`,
    `${CHUNKED}0\r\nX : 1\r\n\r\n`,
  ];
  const problems = (texts: readonly string[]): unknown[] =>
    texts.map((text) => {
      const reading = readMessage(text);
      return reading.kind === 'problem' ? reading.problem : [text, reading];
    });
  assert.deepEqual(
    problems(ambiguous),
    ambiguous.map(() => 'AMBIG'),
  );
  assert.deepEqual(
    problems(invalid),
    invalid.map(() => 'INVALID'),
  );
});

test('waits for what has not come', () => {
  for (const text of ['', 'GET', `GET / HTTP/1.1\r\n${HOST}`, `${CHUNKED}5\r\nhell`, `${CHUNKED}0\r\n`]) {
    assert.equal(readMessage(text).kind, 'incomplete', JSON.stringify(text));
  }
});

test('counts the messages of a connection up to the one that ends it', () => {
  const get = `GET / HTTP/1.1\r\n${HOST}\r\n`;
  const kinds = (text: string): unknown => {
    const { messages, rest } = readAll(text);
    return [messages.length, rest];
  };
  assert.deepEqual(kinds(`\r\n${get}\r\n${get}`), [2, 'nothing']);
  assert.deepEqual(kinds(`${get}GET`), [1, 'incomplete']);
  assert.deepEqual(kinds(`${get}GET / HTTP/9\r\n\r\n`), [1, 'problem']);
  assert.deepEqual(kinds(`GET / HTTP/1.1\r\n${HOST}Connection: a, Close\r\n\r\n${get}`), [1, 'ended']);
  assert.deepEqual(kinds(`GET / HTTP/1.0\r\n\r\n${get}`), [1, 'ended']);
});

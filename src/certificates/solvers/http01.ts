/** http-01 (RFC 8555 section 8.3): a token at a path of port 80. */
import { hang, unhang } from './answers.ts';
import type { AnswerOptions } from './answers.ts';
import type { Solver } from './solver.ts';

export function createHttp01(options: AnswerOptions): Solver {
  return {
    type: 'http-01',
    solves: (_identifier, wildcard) => !wildcard,
    arm: ({ token, keyAuthorization }, signal) => hang(options, 'http-01', token, keyAuthorization, signal),
    disarm: ({ token, keyAuthorization }) => unhang(options, 'http-01', token, keyAuthorization),
  };
}

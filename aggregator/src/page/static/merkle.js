// Proofs of a Merkle tree (RFC 9162, sections 2.1.3 and 2.1.4), checked by the browser itself. Pure.

import { sha256 } from "./sha256.js";

/** A tree of 2^53 leaves, more than a number can count, has proofs of at most this many hashes. */
const MAX_HASHES = 108;

/** The bytes of a base64 text; throws when it is none. */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function joined(...parts) {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function leafHash(leaf) {
  return sha256(joined([0], leaf));
}

export function nodeHash(left, right) {
  return sha256(joined([1], left, right));
}

export function same(a, b) {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

const odd = (number) => number % 2 === 1;
// numbers of leaves are larger than what shifts can take
const half = (number) => Math.floor(number / 2);

/** Whether the hashes prove this leaf to be the `index`-th of the tree of `size` leaves that has this root. */
export function proves({ index, size, leaf, proof, root }) {
  if (index >= size || proof.length > MAX_HASHES) return false;
  let [place, last, hash] = [index, size - 1, leafHash(leaf)];
  for (const beside of proof) {
    if (last === 0) return false;
    if (odd(place) || place === last) {
      hash = nodeHash(beside, hash);
      while (!odd(place) && place !== 0) [place, last] = [half(place), half(last)];
    } else hash = nodeHash(hash, beside);
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && same(hash, root);
}

/** Whether the hashes prove the tree of `to` leaves to continue that of `from` leaves; `roots` are those of the two. */
export function continues({ from, to, proof, roots: [older, newer] }) {
  if (from < 1 || from > to || proof.length > MAX_HASHES) return false;
  if (from === to) return proof.length === 0 && same(older, newer);
  let [place, last] = [from - 1, to - 1];
  while (odd(place)) [place, last] = [half(place), half(last)];
  // a full tree is its own first node
  const hashes = place === 0 ? [older, ...proof] : proof;
  if (hashes.length === 0) return false;
  let [old, now] = [hashes[0], hashes[0]];
  for (const beside of hashes.slice(1)) {
    if (last === 0) return false;
    if (odd(place) || place === last) {
      [old, now] = [nodeHash(beside, old), nodeHash(beside, now)];
      while (!odd(place) && place !== 0) [place, last] = [half(place), half(last)];
    } else now = nodeHash(now, beside);
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && same(old, older) && same(now, newer);
}

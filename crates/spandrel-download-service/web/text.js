// @ts-check
/**
 * Small things every part of the page uses: finding and making elements, and putting numbers, times and refusals into
 * words. Everything that came from outside goes into the page as text, never as markup.
 */
import { DownloadError } from './client.js';

/** Kinder words for refusals whose own message is about the protocol; the others are shown as they come. */
const HUMAN = {
  NETWORK_ERROR: 'The server cannot be reached. Your settings are kept; try again in a moment.',
  AUTH_REQUIRED: 'The server asks who you are.',
  AUTH_INVALID: 'The server does not accept these credentials.',
  OVERLOADED: 'The server is busy. Try again in a moment.',
  SHUTTING_DOWN: 'The server is restarting. Try again in a moment.',
};

/** @template {HTMLElement} T @param {string} selector @param {ParentNode} [root] @returns {T} */
export function $(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`the page has no ${selector}`);
  return /** @type {T} */ (found);
}
/** @param {string} id @returns {HTMLInputElement} */
export const input = (id) => $(`#${id}`);
/** @param {string} id @returns {HTMLSelectElement} */
export const select = (id) => $(`#${id}`);

/** A new element with text. @param {string} tag @param {string} [text] @param {string} [className] */
export function element(tag, text = '', className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
/** A copy of a template's one element. @param {string} id @returns {HTMLElement} */
export const stamp = (id) => /** @type {any} */ ($(`#${id}`)).content.firstElementChild.cloneNode(true);

/** Shows a banner with text, or hides it. @param {HTMLElement} banner @param {string} text */
export function setBanner(banner, text) {
  banner.textContent = text;
  banner.hidden = !text;
}
/** @param {string} text */
export function announce(text) {
  $('#announce').textContent = text;
}

const numbers = new Intl.NumberFormat('en-US');
export const count = (/** @type {number} */ n) => numbers.format(Math.round(n));
/** @param {number} n @param {string} noun */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** @param {number} bytes */
export function size(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let at = 0;
  let value = bytes;
  while (value >= 999.5 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const dayAndClock = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
/** A moment in the reader's own zone. @param {number} ms */
export const moment = (ms) => (new Date(ms).toDateString() === new Date().toDateString() ? clock : dayAndClock).format(ms);
/** What a `datetime-local` input holds for an instant. @param {number} ms */
export const inputTime = (ms) => new Date(ms).toISOString().slice(0, 19);
/** The other way; the inputs are read as UTC. @param {string} value */
export const wireTime = (value) => `${value.length === 16 ? `${value}:00` : value}Z`;

/** @param {unknown} error */
export function humanError(error) {
  if (!(error instanceof DownloadError)) return 'Something went wrong in this page. Reload it.';
  const known = HUMAN[/** @type {keyof typeof HUMAN} */ (error.code)];
  return known ?? sentence(error.message);
}
/** A message as a sentence; a name at its start stays as it is spelt. @param {string} message */
function sentence(message) {
  const isWord = /^[a-z]+[ ,]/.test(message);
  return `${isWord ? message.charAt(0).toUpperCase() : message.charAt(0)}${message.slice(1)}${/[.!?]$/.test(message) ? '' : '.'}`;
}

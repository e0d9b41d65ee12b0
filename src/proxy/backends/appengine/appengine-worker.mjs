import { htmlToText } from 'html-to-text';
import { answerCalls } from '../../../host/answer-calls.ts';
import { limits } from '../../../limits.ts';
import { readFields } from './read-fields.ts';

// The threads of the appengine backend. In JavaScript: its name is the same when it is built.
answerCalls({ readFields, htmlText });

/** @param {string} html */
function htmlText(html) {
  try {
    return htmlToText(html, { limits: { maxDepth: limits.htmlTextDepth } });
  } catch {
    return ''; // html-to-text fails for some HTML.
  }
}

import { encodeField } from './protobuf.ts';

/** MailMessage of Google's mail_service.proto. */
export interface MailMessage {
  sender: string;
  replyTo?: string | undefined;
  to: string[];
  cc: string[];
  bcc: string[];
  subject: string;
  textBody: string;
  htmlBody?: string | undefined;
  attachments: MailAttachment[];
  /** Names and values. */
  headers: [string, string][];
}

export interface MailAttachment {
  fileName: string;
  data: Buffer;
  /** With its angle brackets. */
  contentId?: string | undefined;
}

/** The message in protobuf. */
export function encodeMailMessage(message: MailMessage): Buffer {
  const { sender, replyTo, to, cc, bcc, subject, textBody, htmlBody } = message;
  return Buffer.concat([
    encodeField(1, sender),
    optional(2, replyTo),
    ...to.map((address) => encodeField(3, address)),
    ...cc.map((address) => encodeField(4, address)),
    ...bcc.map((address) => encodeField(5, address)),
    encodeField(6, subject),
    encodeField(7, textBody),
    optional(8, htmlBody),
    ...message.attachments.map((attachment) => encodeField(9, encodeAttachment(attachment))),
    ...message.headers.map(([name, value]) =>
      encodeField(10, Buffer.concat([encodeField(1, name), encodeField(2, value)])),
    ),
  ]);
}

function encodeAttachment({ fileName, data, contentId }: MailAttachment): Buffer {
  return Buffer.concat([encodeField(1, fileName), encodeField(2, data), optional(3, contentId)]);
}

function optional(number: number, value: string | undefined): Buffer {
  return value === undefined ? Buffer.alloc(0) : encodeField(number, value);
}

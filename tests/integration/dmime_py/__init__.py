r"""D/MIME in Python, written from the specification and its decisions alone, to find out whether
another program reads what the C library writes and the other way round. It shares nothing with
proto/dime. Clear rather than fast; not for secrets.

  message.py  structure: header, tracing, chunks, order       crypto.py  one function per rule
  texts.py    chunks 4, 5 and 33, armor                       keys.py    .key files, signets
  opening.py  what one actor sees                             making.py  messages from JSON
  naked.py    naked mail at rest, made and read; for tests, not on the command line

Run it with Debian's python3 (python3-cryptography), from tests/integration or with that
directory in PYTHONPATH:

  python3 -m dmime_py show   MESSAGE
  python3 -m dmime_py open   MESSAGE --as author|origin|destination|recipient --key KEY
                             [--author-signet F] [--org-signet F] [--destination-signet F]
                             [--recipient-signet F] [--trace] [--limit N]
  python3 -m dmime_py verify (as open)
  python3 -m dmime_py new    --spec SPEC.json OUT [--seed TEXT]
  python3 -m dmime_py sign   MESSAGE OUT --key KEY [--signer KEY] [--without 248,249]

MESSAGE may be armored. KEY is a .key file or a text {"seed": HEX, "scalar": HEX}. SPEC.json may
be "-"; files it names lie relative to its own directory. JSON goes to standard output on one
line, keys sorted, ASCII. Exit status: 0 fine, for open and verify "accepted"; 1 not; 2 wrong
usage, keys or description (one line on standard error).

What open prints
----------------
  role      as asked
  state     "ok", or why the message is refused as a whole: "corrupt", "magic" (another object),
            "unsigned" (only chunk 255 is missing), "too-large"
  why       for people; null if state is ok
  accepted  whether this actor goes on with it. author: 225 or 226 is good (D-100). origin:
            225 and 226 are. destination: 255 is, nothing else (D-118). recipient: 225 or 226,
            and 255 if --org-signet was given. The libdime form of 225 counts only with a good
            226 (D-115). Parts may still be corrupt: see complete.
  complete  whether every part this actor can open is ok
  tracing   base64 of an object 1837 in front, or null
  kek       with --trace: z (the x coordinate), iv, key; hex
  chunks    one object each, in the order of the message:
              number, type, name, at (offset after the header), size, payload_size, slots, access
              state         clear (0, 2), closed (no keyslot for this actor), ok, corrupt,
                            alternate (flag 2, D-123)
              why           for people, else null
              payload       base64, of clear chunks
              slot          number of the slot that was opened, from 0
              signature     of the chunk: ok, bad, unchecked (its author is not known here)
              data_size, flags, pad (the octet), padding_size (how many there are)
              iv, key, random (hex), plain (base64 of the whole decrypted payload): with --trace
  parts     one object per span: type, chunks (numbers), state (ok, corrupt, alternate), why,
            size and data (base64; joined and decompressed; null unless ok)
  signatures  by type: state ok, bad, placeholder (64 zero octets), closed, unchecked (no
            signet), absent; of 225 also variant, "correct" or "libdime"; with --trace
            signature in hex
  authentic_by  which of 225 and 226 are good
  envelope  {"4": {"Author": .., "Author-Signet": .., "Destination": ..,
            "Destination-Signet": ..}, "5": {"Recipient": .. }}, as far as open to the actor
  common    the values of chunk 33, or null
  agrees    for every signet given, how the envelope fits: X-Signet "core" or "full", whichever
            fingerprint it is, or null; X true or false, whether the name is that of field 254

With a state other than ok, only role, state, why and accepted are certain to be there.
verify prints state, why, accepted, complete, signatures, authentic_by, agrees.
show prints state, why, and where it can chunks (without what needs a key) and tracing.

What new reads
--------------
Required: author, origin, destination, recipient, each {"signet": S, "key": K, "name": TEXT,
"print": "core"|"full"|TEXT}. S: a file, or {"kind": "user"|"org", "signing": HEX,
"encryption": HEX, "name": TEXT}. K (the author's and the origin's): a file, or {"seed": HEX,
"scalar": HEX}. name and print are for chunks 4 and 5; left out they come from the signet (core
for users, full for organizations, D-111).

OCTETS below is one of "text": TEXT, "base64": TEXT, "hex": TEXT, "file": NAME,
"fill": {"size": N, "octet": N}.

  seed       makes everything random predictable (--seed comes before it)
  signer     K that makes 248, 249 and 255 instead of the origin's
  ephemeral  scalar in hex, else random
  keks       {"recipient": {"iv": HEX, "key": HEX}, ..} for keyslots under another KEK
  common     {"Subject": TEXT, ..} over the defaults of chunk 33; null leaves one out
  headers    text of chunk 34
  parts      list of ENTRY for the chunks between 34 and 225; default one 67
  without    list of types not to make, such as [248, 249]
  with       {"34": {..}}: what to add to the entry of that type
  chunks     list of ENTRY for the whole message in this order, instead of the three above:
             [{"type": 2}, {"type": 4}, ..., {"type": 255}]
  tree       "correct" (default) or "libdime"
  tracing    OCTETS of an object 1837 in front; one of type 0 is an ENTRY in chunks
  magic, length_wrong_by
             of the message header
  armor      true, or {"label": TEXT, "width": N, "padding": true, "crc": true, "end": "\r\n"}
  edits      list, in this order and each as the chunks then are, of
               {"op": "flip", "chunk": N, "at": N, "bit": N}   at: in the chunk with its
                                        header, from its end if negative; without chunk: in
                                        the finished object
               {"op": "swap", "chunks": [N, N]}, {"op": "swap-payloads", "chunks": [N, N]},
               {"op": "drop", "chunk": N}, {"op": "repeat", "chunk": N}
               {"op": "truncate", "size": N}, {"op": "append", OCTETS}
             "when": "author" does it after 225 and 226 are made and before 248, 249 and 255
             (truncate, append and flip without chunk: always at the end), so that the
             outer signature is good.

ENTRY: {"type": N} and
  OCTETS        the data; 4, 5, 33 and 34 have their own
  gzip          true, or "if-smaller"
  pieces        sizes of the data's pieces, flag 128 set on all but the last; as few as needed
                if left out. "on_piece": {"1": {..}} adds to the entry of that piece
  flags         added to those that gzip, pieces and padding need; flags_exactly: instead
  padding       {"total": N}, or {"alternate": true, "blocks": N}; "octet": N fills it with
                another octet, "wrong_at": [N, ..] changes single ones (negative: from the end).
                A total that does not align gives a payload that is no multiple of 16.
  length, pad   data length and pad octet that are told, whatever they are
  signer        K that signs the chunk (or the signature chunk)
  signature     "good", "bad" (one bit changed), "placeholder" (64 zeros), or OCTETS
  variant       of 225, as tree
  extra         of a signature chunk: so many zero octets after the signature
  plain         OCTETS of the whole payload before encryption, signature included
  payload       OCTETS as transmitted, with random keyslots
  declared      payload length that the chunk tells
  slots         number of keyslots; dead_slots: numbers of those filled with random octets
  iv, key, randoms ({"author": HEX, ..})
                instead of random ones

Signatures cover chunks by type in the order of the message, so that messages whose only fault
is order, repetition or omission have good signatures over what is there. All faults keep the
signatures made after them valid.

sign does what the origin does: it replaces the placeholders in 248, 249 and 255 in place and
takes out what --without names.
"""

/* keydctl ticket key, new: what an account system does, for those who set one up or
 * test one. No daemon is asked.
 *
 * Keys are in the form that other tools make (PKCS 8 in PEM, RFC 8410):
 *   openssl genpkey -algorithm ed25519 -out account.key */
#include "keydctl.h"

#include <dime/base64.h>
#include <dime/ed25519.h>
#include <dime/fingerprint.h>
#include <keyd/base/clock.h>
#include <keyd/base/secret.h>
#include <keyd/ticket/ticket.h>

#include <sys/random.h>

enum {
    SEED_SIZE = 32,
    FILE_MAX = 1024,
    MINUTES_DEFAULT = 15,
    MINUTES_MAX = 60 * 24 * 30,
};

static const char pem_begin[] = "-----BEGIN PRIVATE KEY-----\n";
static const char pem_end[] = "\n-----END PRIVATE KEY-----\n";
/* PrivateKeyInfo of an Ed25519 key, up to its seed. */
static const uint8_t der[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                              0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
enum { DER_SIZE = sizeof der + SEED_SIZE, DER_CHARS = 64 };

/* In secret memory. */
struct account_key {
    uint8_t seed[SEED_SIZE];
    uint8_t der[DER_SIZE];
    char pem[sizeof pem_begin + DER_CHARS + sizeof pem_end];
};

/* --- key files ----------------------------------------------------------------------
 */

/* The seed of a PEM text. */
static bool
key_parse(struct kd_slice text, struct account_key *out)
{
    size_t before = sizeof pem_begin - 1, after = sizeof pem_end - 1;

    if (text.n != before + DER_CHARS + after ||
        memcmp(text.p, pem_begin, before) != 0 ||
        memcmp(text.p + before + DER_CHARS, pem_end, after) != 0 ||
        dime_base64_read(kd_slice(text.p + before, DER_CHARS), out->der, DER_SIZE) !=
            KD_OK ||
        memcmp(out->der, der, sizeof der) != 0)
        return false;
    memcpy(out->seed, out->der + sizeof der, SEED_SIZE);
    return true;
}

static int
key_load(const char *path, struct account_key *out)
{
    struct secret file = {0};
    int status = secret_from_file(path, FILE_MAX, false, &file);

    if (status == EX_OK && !key_parse(kd_slice(file.p, file.n), out)) {
        complain(path, "not an Ed25519 private key in PEM (PKCS 8)");
        status = EX_DATAERR;
    }
    secret_free(&file);
    return status;
}

static int
key_make(const char *path, struct account_key *out)
{
    if (getrandom(out->seed, sizeof out->seed, 0) != SEED_SIZE) {
        complain(path, "no random octets");
        return EX_OSERR;
    }
    memcpy(out->der, der, sizeof der);
    memcpy(out->der + sizeof der, out->seed, SEED_SIZE);
    size_t at = sizeof pem_begin - 1;
    memcpy(out->pem, pem_begin, at);
    dime_base64_write(kd_slice(out->der, DER_SIZE), out->pem + at);
    memcpy(out->pem + at + DER_CHARS, pem_end, sizeof pem_end - 1);
    at += DER_CHARS + sizeof pem_end - 1;
    return file_write_secret(path, kd_slice((const uint8_t *)out->pem, at)) == HOLDS
               ? EX_OK
               : EX_CANTCREAT;
}

static int
tell_key(const struct options *o, const uint8_t key[KD_TICKET_KEY_SIZE])
{
    uint8_t id[KD_TICKET_KEY_ID_SIZE];
    char hex[2 * sizeof id + 1];

    kd_ticket_key_id(key, id);
    if (o->json)
        return json_done(json_pack("{s:o, s:o}", "account_key",
                                   json_base64(kd_slice(key, KD_TICKET_KEY_SIZE)), "id",
                                   json_hex(kd_slice(id, sizeof id))),
                         EX_OK);
    hex_write(kd_slice(id, sizeof id), hex);
    emit(stdout, "account-key  ");
    print_base64(stdout, kd_slice(key, KD_TICKET_KEY_SIZE));
    emit(stdout, "\nid           %s\n", hex);
    return EX_OK;
}

int
verb_ticket_key(const struct options *o)
{
    struct account_key *key = kd_secret_new(sizeof *key);
    uint8_t public[KD_TICKET_KEY_SIZE];

    if (key == NULL)
        return EX_OSERR;
    int status = o->make_new ? key_make(o->args[0], key) : key_load(o->args[0], key);
    if (status == EX_OK) {
        dime_ed25519_public(key->seed, public);
        status = tell_key(o, public);
    }
    kd_secret_free(key, sizeof *key);
    return status;
}

/* --- tickets ------------------------------------------------------------------------
 */

int
ticket_load(const char *path, struct kd_buf *b)
{
    struct kd_ticket ticket;
    const char *why = "not an account ticket";
    int fd = open_read(path);

    if (fd < 0)
        return trouble(path), EX_NOINPUT;
    int status = file_read(fd, path, b, &why);
    close_read(fd);
    if (status == TROUBLE)
        return EX_NOINPUT;
    if (status == HOLDS && kd_ticket_decode(kd_buf_slice(b), &ticket) == KD_OK)
        return EX_OK;
    complain(path, why);
    return EX_DATAERR;
}

/* Address, purpose and expiry as the options say. */
static int
ticket_plan(const struct options *o, struct name *address, struct kd_ticket *out)
{
    uint64_t minutes = MINUTES_DEFAULT;
    int status;

    if (o->asked_key == NULL || o->out == NULL)
        return usage_error("ticket new", "--key KEYFILE and -o FILE are needed");
    if (o->minutes != NULL && !number_read(o->minutes, 1, MINUTES_MAX, &minutes))
        return usage_error("--minutes", "a number from 1 to 43200");
    out->purpose = KD_TICKET_FOR_FIRST;
    if (o->purpose != NULL && strcmp(o->purpose, "reset") == 0)
        out->purpose = KD_TICKET_FOR_RESET;
    else if (o->purpose != NULL && strcmp(o->purpose, "first") != 0)
        return usage_error("--for", "first or reset");
    if ((status = name_read(o->args[0], o->args[0], NAME_ADDRESS, address)) != EX_OK)
        return status;
    out->address = kd_slice_str(address->text);
    out->expires_ms = (uint64_t)kd_clock_wall_ms() + minutes * 60 * 1000;
    return EX_OK;
}

/* A signature leaves here only verified: a fault while signing gives keys away. */
static kd_err
ticket_sign(const struct account_key *key, struct kd_ticket *ticket, struct kd_buf *out)
{
    uint8_t public[KD_TICKET_KEY_SIZE], sig[KD_TICKET_SIG_SIZE];
    struct kd_ticket made;
    kd_err err;

    dime_ed25519_public(key->seed, public);
    kd_ticket_key_id(public, ticket->key_id);
    if ((err = kd_ticket_encode(ticket, out)) != KD_OK ||
        (err = dime_ed25519_sign(key->seed, public, kd_buf_slice(out), sig)) != KD_OK)
        return err;
    kd_buf_put(out, kd_slice(sig, sizeof sig));
    if (out->err != KD_OK)
        return out->err;
    return kd_ticket_verify(kd_buf_slice(out), &public, 1, &made);
}

static int
tell_ticket(const struct options *o, const struct kd_ticket *ticket)
{
    const char *purpose = ticket->purpose == KD_TICKET_FOR_FIRST ? "first" : "reset";
    char expires[TIME_TEXT];

    if (strcmp(o->out, "-") == 0)
        return EX_OK;
    if (o->json)
        return json_done(json_pack("{s:o, s:s, s:o}", "address",
                                   json_octets(ticket->address), "for", purpose,
                                   "expires", json_time(ticket->expires_ms)),
                         EX_OK);
    emit(stdout, "ticket for the %s signet of ",
         ticket->purpose == KD_TICKET_FOR_FIRST ? "first" : "new chain's first");
    print_text(stdout, ticket->address);
    emit(stdout, ", good until %s\n", time_text(ticket->expires_ms, expires));
    return EX_OK;
}

int
verb_ticket_new(const struct options *o)
{
    struct account_key *key = kd_secret_new(sizeof *key);
    struct object ssr = {.in.armoured = false};
    struct kd_ticket ticket = {.expires_ms = 0};
    struct name address;
    struct kd_buf out;
    int status;

    if (key == NULL)
        return EX_OSERR;
    kd_buf_init(&out, KD_TICKET_MAX);
    if ((status = ticket_plan(o, &address, &ticket)) != EX_OK ||
        (status = request_load(o->args[1], &ssr)) != EX_OK ||
        (status = key_load(o->asked_key, key)) != EX_OK)
        goto out;
    if (dime_fingerprint(&ssr.signet, DIME_PART_REQUEST, ticket.request) != KD_OK ||
        ticket_sign(key, &ticket, &out) != KD_OK) {
        complain(o->args[1], "no ticket can be made of it");
        status = EX_DATAERR;
    } else if (file_write(o->out, kd_buf_slice(&out)) != HOLDS) {
        status = EX_CANTCREAT;
    } else {
        status = tell_ticket(o, &ticket);
    }
out:
    kd_buf_free(&out);
    object_free(&ssr);
    kd_secret_free(key, sizeof *key);
    return status;
}

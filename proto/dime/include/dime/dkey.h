/* Private key files of libdime and magma (D-055), for import and for users.
 *
 *     1952 | 2013  len24   01 20 seed[32]   (03 org | 02 user) LEN scalar[32]
 *
 * LEN is 00 20 (libdime) or 20 (magma). Older libdime wrote the scalar as a DER
 * ECPrivateKey (RFC 5915) instead; the length tells which, so that is read as well.
 * The file is these octets or their armour.
 *
 * Every secret stays in secret memory: the file's octets too should be read into it. */
#ifndef DIME_DKEY_H
#define DIME_DKEY_H

#include <keyd/base/err.h>
#include <keyd/base/slice.h>

enum {
    DIME_DKEY_ORG_MAGIC = 1952,
    DIME_DKEY_USER_MAGIC = 2013,
    DIME_DKEY_ORG_SEALED_MAGIC = 1947,
    DIME_DKEY_USER_SEALED_MAGIC = 1976,

    DIME_DKEY_MAX = 1024,      /* octets of the binary object that are read */
    DIME_DKEY_FILE_MAX = 8192, /* octets of a file worth reading, armour and text */
};

enum dime_dkey_kind { DIME_DKEY_ORG, DIME_DKEY_USER };

/* One pair of keys; lives in secret memory. */
struct dime_dkey {
    enum dime_dkey_kind kind;
    uint8_t seed[32];    /* Ed25519, RFC 8032 */
    uint8_t scalar[32];  /* secp256k1, big endian, 1 to n-1 */
    uint8_t sign_pk[32]; /* derived, never read from the file */
    uint8_t enc_pk[33];  /* derived, compressed */
};

/* Reads a key file, armoured or binary; *out is the caller's to dime_dkey_free. Needs
 * kd_secret_setup. Failures leave nothing behind and put a static text in *why (may
 * be NULL): KD_MALFORMED (the octets), KD_INVALID (scalar is 0 or not below the group
 * order), KD_UNSUPPORTED (magma's encrypted files), KD_TOO_LARGE, KD_NOMEM. */
kd_err dime_dkey_load(struct kd_slice file, struct dime_dkey **out,
                      const char **why) KD_MUST_USE;

/* The same from the two secrets; the slices' octets should be secret memory. */
kd_err dime_dkey_make(enum dime_dkey_kind kind, const uint8_t seed[32],
                      const uint8_t scalar[32], struct dime_dkey **out) KD_MUST_USE;

/* Wipes; accepts NULL. */
void dime_dkey_free(struct dime_dkey *key);

/* True for the octets of a private key file of any kind, encrypted ones included:
 * what no server may take (T-SG-94). */
bool dime_dkey_is(struct kd_slice octets);

#endif

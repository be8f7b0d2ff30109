#include "letter.h"

#include "dmw.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALICE "alice@example.com"

enum {
    FP_CHARS = 86,
    CHUNK_4_AND_5 = 512 - 69,
    TEXT_MAX = 32 << 10, /* more is attached, in chunks of so much: */
    ATTACHED_MAX = 8 << 20
};

bool
letter_org_get(keyd_client *c, struct letter_org *out)
{
    struct keyd_answer *a = NULL;
    enum keyd_status s =
        keyd_client_lookup_signet(c, KEYD_STR("example.com"), KEYD_NONE, &a);
    bool good = s == KEYD_OK && a->out.signet.signet.n <= sizeof out->signet &&
                a->out.signet.full_fp.n == sizeof out->full;

    if (good) {
        out->signet_n = a->out.signet.signet.n;
        memcpy(out->signet, a->out.signet.signet.p, out->signet_n);
        memcpy(out->full, a->out.signet.full_fp.p, sizeof out->full);
    } else {
        fprintf(stderr, "letters: no signet of example.com: %s\n",
                keyd_client_status_text(s));
    }
    keyd_client_answer_free(a);
    return good;
}

/* alice's fingerprint, and that of the organization (chunk 5 of MSG has it). */
static const char *
fp_of_alice(void)
{
    return strchr(dmw_text(4), '[') + 1;
}

static const char *
fp_of_org(void)
{
    return strrchr(dmw_text(5), '[') + 1;
}

static struct dmw_chunk
envelope(uint8_t type, char text[1024])
{
    int n = type == 4
                ? snprintf(text, 1024,
                           "Author: <" ALICE ">\r\nAuthor-Signet: [%.*s]\r\n"
                           "Destination: <example.com>\r\n"
                           "Destination-Signet: [%.*s]\r\n",
                           FP_CHARS, fp_of_alice(), FP_CHARS, fp_of_org())
                : snprintf(text, 1024,
                           "Recipient: <" ALICE ">\r\nRecipient-Signet: [%.*s]\r\n"
                           "Origin: <example.com>\r\nOrigin-Signet: [%.*s]\r\n",
                           FP_CHARS, fp_of_alice(), FP_CHARS, fp_of_org());

    return (struct dmw_chunk){.type = type,
                              .data = kd_slice((const uint8_t *)text, (size_t)n),
                              .padding = (uint32_t)(CHUNK_4_AND_5 - n)};
}

static void
write_message(struct dmw *w, uint64_t seed, size_t content)
{
    const struct sg_world *world = sg_world();
    uint8_t *octets = calloc(1, content + 1);
    char texts[2][1024];

    if (octets == NULL)
        abort();
    dmw_begin(w, seed);
    w->people[DIME_DESTINATION] = w->people[DIME_ORIGIN];
    for (uint8_t type = 4; type < 6; type++) {
        struct dmw_chunk c = envelope(type, texts[type - 4]);
        dmw_put(w, &c);
    }
    dmw_put(w, &(struct dmw_chunk){
                   .type = 33, .data = kd_slice_str(dmw_text(33)), .padding = 64});
    size_t text = content < TEXT_MAX ? content : TEXT_MAX;
    dmw_put(w, &(struct dmw_chunk){.type = 67, .data = {octets, text}});
    for (size_t at = text; at < content;) {
        size_t left = content - at, n = left < ATTACHED_MAX ? left : ATTACHED_MAX;
        dmw_put(w, &(struct dmw_chunk){.type = 131, .data = {octets + at, n}});
        at += n;
    }
    dmw_sign(w, 225, &world->alice, 0);
    dmw_sign(w, 226, &world->alice, 0);
    for (uint8_t type = 248; type < 250; type++)
        dmw_sign(w, type, &world->sok, 0);
    dmw_sign(w, 255, &world->sok, 0);
    dmw_end(w);
    free(octets);
}

static void
record_of(const struct dmw *w, bool opened, uint8_t out[32])
{
    const struct dmw_mark *five = dmw_find(w, 5, 0), *last = dmw_find(w, 255, 0);
    crypto_hash_sha256_state h;

    crypto_hash_sha256_init(&h);
    if (opened) {
        crypto_hash_sha256_update(&h, w->out.p + 6, 37);
        crypto_hash_sha256_update(&h, w->out.p + five->at, five->end - five->at);
    } else {
        crypto_hash_sha256_update(&h, w->out.p + 6, last->at - 6);
    }
    crypto_hash_sha256_final(&h, out);
}

struct letter *
letter_new(uint64_t seed, size_t content, const struct letter_org *org)
{
    static const uint8_t zeros[64];
    struct dmw *w = malloc(sizeof *w);
    struct letter *l = NULL;

    if (w == NULL)
        return NULL;
    write_message(w, seed, content);
    if ((l = malloc(sizeof *l + w->out.n)) == NULL)
        goto out;
    l->n = w->out.n;
    record_of(w, org != NULL, l->record);
    memcpy(l->organization, w->out.p + dmw_find(w, 255, 0)->at + 4, 64);
    for (size_t i = 0; i < w->n && org == NULL; i++) {
        const struct dmw_mark *m = &w->chunks[i];
        if (m->type == 248 || m->type == 249 || m->type == 255)
            dmw_seal(&m->key, kd_slice(zeros, sizeof zeros), w->out.p + m->at + 4);
    }
    memcpy(l->octets, w->out.p, w->out.n);
out:
    dmw_free(w);
    free(w);
    return l;
}

struct keyd_request
letter_request(const struct letter *l, const struct letter_org *org)
{
    const struct keyd_octets octets = {l->octets, l->n};

    if (org == NULL)
        return (struct keyd_request){
            .op = KEYD_OP_SIGN_OUTBOUND,
            .in.sign_outbound = {.account = KEYD_STR(ALICE),
                                 .destination = KEYD_STR("example.com"),
                                 .message = octets}};
    return (struct keyd_request){
        .op = KEYD_OP_OPEN_ENVELOPE,
        .in.inbound = {.origin = KEYD_STR("example.com"),
                       .origin_fp = {org->full, sizeof org->full},
                       .domain = KEYD_STR("example.com"),
                       .domain_fp = {org->full, sizeof org->full},
                       .origin_signet = {org->signet, org->signet_n},
                       .message = octets}};
}

bool
letter_is_right(const struct letter *l, const struct keyd_answer *a)
{
    const struct keyd_octets *to = &a->out.envelope.recipient;

    if (a->op == KEYD_OP_SIGN_OUTBOUND)
        return a->out.outbound.organization.n == 64 &&
               memcmp(a->out.outbound.organization.p, l->organization, 64) == 0;
    return a->out.envelope.verdict == KEYD_ENVELOPE_CURRENT && to->n == strlen(ALICE) &&
           memcmp(to->p, ALICE, to->n) == 0;
}

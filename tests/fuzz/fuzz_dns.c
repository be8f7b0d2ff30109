/* What the DNS answered, as libunbound hands it over: the verdict on it, the record
 * among its data, and the data of mail exchangers.
 *
 * Input: flags (1 has data, 2 no such name, 4 secure, 8 bogus, 16 a canonical name of
 * 16 octets follows), rcode, TTL u32; then records, each a u16 length and as many
 * octets. */
#include "fuzz.h"
#include "lookup.h"
#include "rdata.h"

#include <string.h>

enum { FLAGS = 6, CANON = 16, MOST = 40 };

static void
check_mx(struct kd_slice rdata)
{
    char host[DNS_NAME_MAX + 1];
    uint16_t preference;
    size_t at = 2;

    if (rdata_mx(rdata, &preference, host) != KD_OK)
        return;
    fuzz_require(host[0] == '\0' || dns_name_ok(host));
    /* written again it is what came, but for case */
    for (const char *p = host; *p != '\0';) {
        size_t label = strcspn(p, ".");

        fuzz_require(rdata.p[at++] == label);
        for (size_t i = 0; i < label; i++, at++)
            fuzz_require((rdata.p[at] | 0x20) == ((uint8_t)p[i] | 0x20));
        p += label + (p[label] == '.');
    }
    fuzz_require(at + 1 == rdata.n && rdata.p[at] == 0);
}

/* Whether any of the data may be a record of ours, or is no TXT at all. */
static bool
has_suspect(const struct dns_answer *a)
{
    static uint8_t text[DNS_ANSWER_MAX];

    for (size_t i = 0; i < a->n; i++) {
        size_t n;

        if (rdata_txt(a->rdata[i], text, &n) != KD_OK ||
            dime_mrec_is_candidate(kd_slice(text, n)))
            return true;
    }
    return false;
}

static void
check_answer(const struct dns_raw *raw, const struct dns_answer *a)
{
    fuzz_require((a->status == DNS_BROKEN) == (a->broken != DNS_WHOLE));
    fuzz_require(!raw->bogus || a->broken == DNS_BOGUS);
    fuzz_require(raw->rcode == 0 || raw->rcode == 3 || a->status == DNS_BROKEN);
    fuzz_require((a->status == DNS_FOUND) == (a->n > 0));
    fuzz_require(!a->secure || raw->secure);
    fuzz_require(a->n <= DNS_RECORDS_MAX);
    fuzz_require(memchr(a->canonical, '\0', sizeof(a->canonical)) != NULL);
    for (size_t i = 0; i < a->n; i++) {
        fuzz_require(a->rdata[i].n == (size_t)raw->len[i]);
        fuzz_require(memcmp(a->rdata[i].p, raw->data[i], a->rdata[i].n) == 0);
        check_mx(a->rdata[i]);
    }
}

static void
check_record(const struct dns_answer *a)
{
    static struct record r;
    static struct dime_mrec again;

    switch (lookup_judge(a, &r)) {
    case RECORD_PRESENT:
        fuzz_require(a->status == DNS_FOUND && r.secure == a->secure &&
                     r.ttl == a->ttl);
        fuzz_require(dime_mrec_is_candidate(kd_slice(r.text, r.n_text)));
        fuzz_require(dime_mrec_parse(kd_slice(r.text, r.n_text), &again, NULL) ==
                     KD_OK);
        fuzz_require(again.n_poks == r.mrec.n_poks && again.n_poks > 0);
        break;
    case RECORD_ABSENT:
        fuzz_require(a->status != DNS_BROKEN && !has_suspect(a));
        fuzz_require(r.text == NULL && r.ttl <= RECORD_ABSENT_MAX_S);
        break;
    case RECORD_BROKEN:
        fuzz_require(a->status == DNS_BROKEN || has_suspect(a));
        fuzz_require(r.text == NULL && !r.secure && r.why[0] != '\0');
        break;
    default:
        fuzz_require(false);
    }
    record_clear(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char octets[2 * DNS_ANSWER_MAX];
    char *rdata[MOST + 1], canon[CANON + 1] = "";
    int len[MOST];
    size_t n = 0, at = FLAGS;
    struct dns_answer a;

    if (size < FLAGS || size > sizeof(octets))
        return 0;
    memcpy(octets, data, size);
    struct dns_raw raw = {.qname = "_dime.example.com",
                          .rcode = data[1],
                          .ttl = (int)(data[2] << 8 | data[3] | (data[4] & 0x80) << 23),
                          .havedata = (data[0] & 1) != 0,
                          .nxdomain = (data[0] & 2) != 0,
                          .secure = (data[0] & 4) != 0,
                          .bogus = (data[0] & 8) != 0,
                          .data = rdata,
                          .len = len};

    if ((data[0] & 16) != 0 && size - at >= CANON) {
        memcpy(canon, data + at, CANON);
        raw.canonname = canon;
        at += CANON;
    }
    while (n < MOST && size - at >= 2) {
        size_t want = (size_t)(data[at] << 8 | data[at + 1]);

        at += 2;
        len[n] = (int)(want < size - at ? want : size - at);
        rdata[n] = octets + at;
        at += (size_t)len[n++];
    }
    rdata[n] = NULL;
    fuzz_begin(size);
    dns_judge(&raw, &a);
    check_answer(&raw, &a);
    check_record(&a);
    dns_answer_clear(&a);
    fuzz_end();
    return 0;
}

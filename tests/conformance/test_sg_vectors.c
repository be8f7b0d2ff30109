/* Every signet file of the test vectors with the verdict the decisions ask for (which
 * is not always the one of the implementation that made it), its fingerprints, and the
 * objects of the specification's appendix made again octet for octet. */
#include "sg.h"
#include "test.h"

#include <dime/armor.h>
#include <dime/build.h>
#include <dime/fingerprint.h>

#include <stdio.h>
#include <stdlib.h>

#define NONE kd_slice(NULL, 0)
#define GOOD "libdime/signets/"
#define BAD "libdime/malformed/signets/"
#define ORGA GOOD "orga.signet.bin"
#define ORGB GOOD "orgb.signet.bin"

/* org: whose POK is trusted (organizational signets) or who signed (user signets). */
static const struct {
    const char *file;
    enum dime_kind kind;
    const char *org, *prev;
    enum dime_reason why;
} verdicts[] = {
    {GOOD "orga.signet.bin", DIME_ORG, ORGA, NULL, DIME_FINE},
    {GOOD "orga.full.signet.bin", DIME_ORG, ORGA, NULL, DIME_FINE},
    {GOOD "orga.core.signet.bin", DIME_ORG, ORGA, NULL, DIME_FINE},
    {GOOD "orgb.signet.bin", DIME_ORG, ORGB, NULL, DIME_FINE},
    {GOOD "orgb.full.signet.bin", DIME_ORG, ORGB, NULL, DIME_FINE},
    {GOOD "orgb.core.signet.bin", DIME_ORG, ORGB, NULL, DIME_FINE},
    {GOOD "orgb.signet.bin", DIME_ORG, ORGA, NULL, DIME_NOT_ANCHORED},
    {GOOD "alice.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},
    {GOOD "alice.full.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},
    {GOOD "alice.core.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},
    {GOOD "alice.signet.bin", DIME_USER, ORGB, NULL, DIME_BAD_ORG_SIGNATURE},
    {GOOD "alice2.signet.bin", DIME_USER, ORGA, GOOD "alice.signet.bin", DIME_FINE},
    {GOOD "alice2.full.signet.bin", DIME_USER, ORGA, GOOD "alice.core.signet.bin",
     DIME_FINE},
    {GOOD "alice2.core.signet.bin", DIME_USER, ORGA, GOOD "alice.full.signet.bin",
     DIME_FINE},
    {GOOD "alice2.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE}, /* D-071 */
    {GOOD "alice2.signet.bin", DIME_USER, ORGA, GOOD "bob.signet.bin",
     DIME_BAD_CUSTODY},
    {GOOD "alice.signet.bin", DIME_USER, ORGA, GOOD "alice2.signet.bin",
     DIME_CHAIN_BROKEN},
    {GOOD "bob.signet.bin", DIME_USER, ORGB, NULL, DIME_FINE},
    {GOOD "bob.full.signet.bin", DIME_USER, ORGB, NULL, DIME_FINE},
    {GOOD "bob.core.signet.bin", DIME_USER, ORGB, NULL, DIME_FINE},
    {GOOD "carol.sok1.signet.bin", DIME_USER, ORGB, NULL, DIME_FINE},
    {GOOD "carol.sok2.signet.bin", DIME_USER, ORGB, NULL, DIME_BAD_ORG_SIGNATURE},
    {GOOD "alice.ssr.bin", DIME_SSR, NULL, NULL, DIME_FINE},
    {GOOD "alice2.ssr.bin", DIME_SSR, NULL, NULL, DIME_FINE},
    {GOOD "alice2.ssr.bin", DIME_SSR, NULL, GOOD "alice.signet.bin", DIME_FINE},
    {GOOD "alice2.ssr.bin", DIME_SSR, NULL, GOOD "bob.signet.bin", DIME_BAD_CUSTODY},
    {GOOD "bob.ssr.bin", DIME_SSR, NULL, NULL, DIME_FINE},
    {GOOD "carol.ssr.bin", DIME_SSR, NULL, NULL, DIME_FINE},

    {BAD "ok.baseline.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},
    {BAD "magic.signet.bin", DIME_USER, ORGA, NULL, DIME_BAD_MAGIC},
    {BAD "len-long.signet.bin", DIME_USER, ORGA, NULL, DIME_LENGTH_MISMATCH},
    {BAD "len-short.signet.bin", DIME_USER, ORGA, NULL, DIME_LENGTH_MISMATCH},
    {BAD "order.signet.bin", DIME_USER, ORGA, NULL, DIME_ORDER},
    {BAD "dup-unique.signet.bin", DIME_USER, ORGA, NULL, DIME_DUPLICATE},
    {BAD "reserved5-org.signet.bin", DIME_ORG, ORGA, NULL, DIME_RESERVED_FIELD},
    {BAD "unassigned28.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE}, /* D-039 */
    {BAD "missing2.signet.bin", DIME_USER, ORGA, NULL, DIME_MISSING_FIELD},
    {BAD "sig255-flip.signet.bin", DIME_USER, ORGA, NULL,
     DIME_BAD_IDENTIFIED_SIGNATURE},
    {BAD "format41.signet.bin", DIME_USER, ORGA, NULL, DIME_KEY_ENCODING},
    {BAD "point-uncompressed.signet.bin", DIME_USER, ORGA, NULL, DIME_KEY_ENCODING},
    {BAD "id-upper.signet.bin", DIME_USER, ORGA, NULL, DIME_IDENTIFIER_FORM},
    {BAD "id-other-domain.signet.bin", DIME_USER, ORGA, NULL, DIME_OTHER_DOMAIN},
    {BAD "id-len2.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE}, /* D-051 */
    {BAD "id-empty.signet.bin", DIME_USER, ORGA, NULL, DIME_FIELD_OVERFLOW},
    {BAD "org-other-signer.signet.bin", DIME_ORG, ORGA, NULL, DIME_BAD_SELF_SIGNATURE},
    {BAD "sok-badlen.signet.bin", DIME_ORG, ORGA, NULL, DIME_KEY_ENCODING},
    {BAD "custody-no-prev.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},   /* D-071 */
    {BAD "sok4.signet.bin", DIME_USER, ORGB, NULL, DIME_BAD_ORG_SIGNATURE}, /* D-034 */
    {BAD "core-only.signet.bin", DIME_USER, ORGA, NULL, DIME_FINE},

    {"prime/org.signet.bin", DIME_ORG, "prime/org.signet.bin", NULL, DIME_FINE},
    {GOOD "alice.key", DIME_USER, ORGA, NULL, DIME_BAD_MAGIC},
    {"prime/org.key.bin", DIME_ORG, ORGA, NULL, DIME_BAD_MAGIC},
    {"prime/org.key.encrypted.bin", DIME_ORG, ORGA, NULL, DIME_BAD_MAGIC},

    {"appendix/ORG1.b64", DIME_ORG, "appendix/ORG1.b64", NULL, DIME_FINE},
    {"appendix/ORG1-P.b64", DIME_ORG, "appendix/ORG1.b64", NULL, DIME_FINE},
    {"appendix/ORG1-S33.b64", DIME_ORG, "appendix/ORG1.b64", NULL, DIME_FINE},
    {"appendix/DEST.b64", DIME_ORG, "appendix/DEST.b64", NULL, DIME_FINE},
    {"appendix/BOB.b64", DIME_USER, "appendix/DEST.b64", NULL, DIME_FINE},
    {"appendix/BOB.b64", DIME_USER, "appendix/ORG2.b64", NULL, DIME_BAD_ORG_SIGNATURE},
    {"appendix/USER0.b64", DIME_USER, "appendix/ORG1.b64", NULL,
     DIME_BAD_ORG_SIGNATURE},
    {"appendix/USER0.b64", DIME_USER, "appendix/ORG2.b64", NULL, DIME_FINE},
};

static enum dime_reason
verdict(enum dime_kind kind, struct kd_slice file, struct kd_slice org,
        struct kd_slice prev)
{
    struct dime_signet o;
    enum dime_reason why;

    if (kind == DIME_SSR)
        return sg_ssr_why(file, prev);
    if (kind == DIME_USER)
        return sg_user_why(file, org, prev);
    assert_int_equal(dime_signet_parse(org, &o, &why), KD_OK);
    return sg_org_why(file, o.sign_key);
}

static void
every_file_gets_the_verdict_of_the_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        struct kd_slice file = sg_file(verdicts[i].file);
        struct kd_slice org = verdicts[i].org != NULL ? sg_file(verdicts[i].org) : NONE;
        struct kd_slice prev =
            verdicts[i].prev != NULL ? sg_file(verdicts[i].prev) : NONE;
        enum dime_reason why = verdict(verdicts[i].kind, file, org, prev);
        if (why != verdicts[i].why)
            fail_msg("%s (%zu): %s, not %s", verdicts[i].file, i, dime_reason_name(why),
                     dime_reason_name(verdicts[i].why));
        sg_free(file);
        sg_free(org);
        sg_free(prev);
    }
}

/* The armoured form of each file holds the octets of its binary form. */
static void
armoured_files_hold_the_same_objects(void **state)
{
    unsigned n_compared = 0;

    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        char name[256];
        size_t n = strlen(verdicts[i].file);
        if (n < 4 || n >= sizeof name ||
            strcmp(verdicts[i].file + n - 4, ".bin") != 0 ||
            strstr(verdicts[i].file, ".key") != NULL) /* sealed twice, so not equal */
            continue;
        memcpy(name, verdicts[i].file, n - 4);
        name[n - 4] = 0;
        struct kd_slice text = sg_file(name), octets = sg_file(verdicts[i].file), got;
        enum dime_armor_label label;
        const char *why = NULL;
        struct kd_buf b;
        kd_buf_init(&b, DIME_SIGNET_MAX);
        if (dime_object_load(text, &b, &got, &label, &why) != KD_OK)
            fail_msg("%s: %s", name, why);
        assert_int_not_equal(label, DIME_ARMOR_NONE);
        if (!kd_slice_eq(got, octets))
            fail_msg("%s holds another object", name);
        kd_buf_free(&b);
        sg_free(text);
        sg_free(octets);
        n_compared++;
    }
    assert_true(n_compared > 40);
}

/* Files of which there is only text. */
static void
armoured_only_files_get_their_verdicts(void **state)
{
    static const struct {
        const char *file;
        enum dime_kind kind;
        bool armour; /* false: the armour itself is refused */
    } rows[] = {
        {BAD "armor-ssrtag.ssr", DIME_SSR, true},
        {BAD "armor-leading-text.signet", DIME_USER, true},
        {BAD "dos-format-string.signet", DIME_USER, false},
    };
    struct kd_slice org = sg_file(ORGA);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct kd_slice text = sg_file(rows[i].file), got;
        enum dime_armor_label label;
        const char *why;
        struct kd_buf b;
        kd_buf_init(&b, DIME_SIGNET_MAX);
        kd_err err = dime_object_load(text, &b, &got, &label, &why);
        assert_int_equal(err, rows[i].armour ? KD_OK : KD_MALFORMED);
        if (rows[i].armour)
            assert_string_equal(dime_reason_name(verdict(rows[i].kind, got, org, NONE)),
                                "FINE");
        kd_buf_free(&b);
        sg_free(text);
    }
    sg_free(org);
}

/* The fingerprint in the nth column of "| file | `core` | `full` | `id` | `ssr` |". */
static bool
cell(const char *line, unsigned nth, struct kd_slice *out)
{
    for (unsigned i = 0; i < nth + 1; i++) {
        line = strchr(line + 1, '|');
        if (line == NULL)
            return false;
    }
    if (line[2] != '`') /* "-" */
        return false;
    *out = kd_slice(line + 3, strcspn(line + 3, "`"));
    return true;
}

static void
assert_fingerprints(const struct dime_signet *s, const char *line)
{
    static const enum dime_part parts[] = {DIME_PART_CORE, DIME_PART_FULL,
                                           DIME_PART_IDENTIFIED, DIME_PART_REQUEST};

    for (unsigned i = 0; i < 4; i++) {
        uint8_t fp[DIME_FINGERPRINT_SIZE], want_fp[DIME_FINGERPRINT_SIZE];
        char text[DIME_FINGERPRINT_CHARS + 1];
        struct kd_slice want;
        if (!cell(line, i, &want)) {
            assert_int_equal(dime_fingerprint(s, parts[i], fp), KD_NOT_FOUND);
            continue;
        }
        assert_int_equal(dime_fingerprint(s, parts[i], fp), KD_OK);
        dime_fingerprint_text(fp, text);
        if (!kd_slice_eq(kd_slice_str(text), want))
            fail_msg("%s: %s is %s", line, dime_part_name(parts[i]), text);
        assert_int_equal(dime_fingerprint_read(want, want_fp), KD_OK);
        assert_memory_equal(want_fp, fp, sizeof fp);
    }
}

static void
T_SG_6_fingerprints_of_the_index_are_reproduced(void **state)
{
    static char line[4096];
    unsigned n_files = 0;
    bool in_table = false;
    FILE *f = fopen(KEYD_VECTORS "/INDEX.md", "r");

    (void)state;
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (line[0] == '#')
            in_table = strncmp(line, "### Fingerprints", 16) == 0;
        char name[64], path[128];
        if (!in_table || sscanf(line, "| %63[^| ] | ", name) != 1 ||
            strchr(name, '.') == NULL)
            continue;
        snprintf(path, sizeof path, GOOD "%s.bin", name);
        struct kd_slice file = sg_file(path);
        struct dime_signet s;
        enum dime_reason why;
        assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
        assert_fingerprints(&s, line);
        sg_free(file);
        n_files++;
    }
    fclose(f);
    assert_int_equal(n_files, 21);
}

static void
assert_fingerprint(const struct dime_signet *s, enum dime_part part, const char *want)
{
    uint8_t fp[DIME_FINGERPRINT_SIZE];
    char text[DIME_FINGERPRINT_CHARS + 1];

    assert_int_equal(dime_fingerprint(s, part, fp), KD_OK);
    dime_fingerprint_text(fp, text);
    assert_string_equal(text, want);
}

static void
prime_signet_is_layout_p_with_its_fingerprint(void **state)
{
    struct kd_slice file = sg_file("prime/org.signet.bin");
    struct dime_signet s;
    enum dime_reason why;

    (void)state;
    assert_int_equal(dime_signet_parse(file, &s, &why), KD_OK);
    assert_string_equal(dime_layout_name(s.layout), "P");
    assert_int_equal(s.part, DIME_PART_CORE);
    assert_fingerprint(&s, DIME_PART_CORE,
                       "tbupSC8geWAxvcf1M3mk8asfEjx5KOYerbTwaeVPN+aHjrH532iaZOo+OMwosO+"
                       "ohGXkYjusZN49mjQW/qHmNg");
    sg_free(file);
}

static struct kd_slice
upstream(const char *name)
{
    char path[1024];

    snprintf(path, sizeof path, "%s/upstream/%s", KEYD_SHARED_VECTORS, name);
    return sg_file_at(path);
}

/* magma's own data, which is not part of this tree. */
static void
upstream_objects_are_read(void **state)
{
    struct kd_slice text = upstream("magma-sandbox.signet"), octets;
    struct kd_slice org = upstream("magma-check.org_signet.bin");
    struct kd_slice user = upstream("magma-check.user_signet.bin");
    struct kd_slice ssr = upstream("magma-check.user_signing_request.bin");
    enum dime_armor_label label;
    const char *text_why;
    struct dime_signet s;
    enum dime_reason why;
    struct kd_buf b;

    (void)state;
    if (text.n == 0) {
        print_message("no upstream folder beside the source tree: skipped\n");
        skip();
    }
    kd_buf_init(&b, 4096);
    assert_int_equal(dime_object_load(text, &b, &octets, &label, &text_why), KD_OK);
    assert_string_equal(dime_reason_name(sg_org_why(octets, NULL)), "FINE");
    assert_int_equal(dime_signet_parse(octets, &s, &why), KD_OK);
    assert_string_equal(dime_layout_name(s.layout), "P");
    assert_fingerprint(&s, DIME_PART_CORE,
                       "C0iqvyYjGP9ViL6jfH02eD2JYGmxdy3Gd55bRIaAhCsWug+4VHXrgOSqwuQeAN1"
                       "AZZmMEZmhz0fG7CLrjtBiow");
    const struct kd_slice layout_m[] = {org, user, ssr};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dime_signet_parse(layout_m[i], &s, &why), KD_OK);
        assert_string_equal(dime_layout_name(s.layout), "M");
    }
    assert_string_equal(dime_reason_name(sg_org_why(org, NULL)), "FINE");
    assert_string_equal(dime_reason_name(sg_user_why(user, org, NONE)), "FINE");
    assert_string_equal(dime_reason_name(sg_ssr_why(ssr, NONE)), "FINE");
    kd_buf_free(&b);
    sg_free(text);
    sg_free(org);
    sg_free(user);
    sg_free(ssr);
}

/* The object is the file, octet for octet. */
static void
assert_is_file(struct kd_buf *made, const char *file)
{
    struct kd_slice want = sg_file(file), got = kd_buf_slice(made);

    if (!kd_slice_eq(got, want))
        fail_msg("%s is not made as it stands there", file);
    sg_free(want);
    kd_buf_free(made);
    kd_buf_init(made, DIME_SIGNET_MAX);
}

static void
organizational_signets_of_the_appendix_are_made(void **state)
{
    static const char name_org2[] = "\x10\x07"
                                    "Example";
    const struct sg_world *w = sg_world();
    struct sg_pair pok = w->pok, other = w->other_pok;
    struct dime_sok sok = {.perms = 3};
    struct dime_org_plan plan = {.pok = w->pok.key,
                                 .enc_key = w->org_enc,
                                 .identifier = kd_slice_str("example.com")};
    struct dime_signer by_pok = {sg_signer, &pok}, by_other = {sg_signer, &other};
    enum dime_reason why;
    struct kd_buf b;

    (void)state;
    memcpy(sok.key, w->sok.key, sizeof sok.key);
    kd_buf_init(&b, DIME_SIGNET_MAX);
    assert_int_equal(dime_org_build(&plan, by_pok, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/ORG1.b64");
    plan.layout = DIME_LAYOUT_S33;
    assert_int_equal(dime_org_build(&plan, by_pok, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/ORG1-S33.b64");
    plan.layout = DIME_LAYOUT_L;
    plan.soks = &sok;
    plan.n_soks = 1;
    plan.info = kd_slice(name_org2, sizeof name_org2 - 1);
    assert_int_equal(dime_org_build(&plan, by_pok, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/ORG2.b64");
    struct dime_org_plan dest = {.pok = w->other_pok.key,
                                 .enc_key = w->other_enc,
                                 .identifier = kd_slice_str("example.org")};
    assert_int_equal(dime_org_build(&dest, by_other, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/DEST.b64");
    kd_buf_free(&b);
}

static void
requests_of_the_appendix_are_made(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair alice = w->alice, alice0 = w->alice0;
    struct dime_signer new_key = {sg_signer, &alice}, old_key = {sg_signer, &alice0};
    struct dime_ssr_plan root = {.sign_key = w->alice0.key, .enc_key = w->alice0_enc};
    struct dime_ssr_plan next = {
        .sign_key = w->alice.key, .enc_key = w->alice_enc, .custody = &old_key};
    enum dime_reason why;
    struct kd_buf b;

    (void)state;
    kd_buf_init(&b, DIME_SIGNET_MAX);
    assert_int_equal(dime_ssr_build(&root, old_key, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/SSR0.b64");
    assert_int_equal(dime_ssr_build(&next, new_key, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/SSR1.b64");
    kd_buf_free(&b);
}

static void
assert_user_is_made(const char *ssr_file, const char *user_file, struct kd_slice info,
                    const char *address, const struct sg_pair *by)
{
    struct kd_slice octets = sg_file(ssr_file);
    struct sg_pair org = *by;
    struct dime_signet ssr;
    enum dime_reason why;
    struct kd_buf b;

    assert_int_equal(dime_signet_parse(octets, &ssr, &why), KD_OK);
    struct dime_user_plan plan = {
        .ssr = &ssr, .info = info, .identifier = kd_slice_str(address)};
    kd_buf_init(&b, DIME_SIGNET_MAX);
    assert_int_equal(
        dime_user_build(&plan, (struct dime_signer){sg_signer, &org}, &b, &why), KD_OK);
    assert_is_file(&b, user_file);
    kd_buf_free(&b);
    sg_free(octets);
}

static void
user_signets_of_the_appendix_are_made(void **state)
{
    const struct sg_world *w = sg_world();
    struct sg_pair bob = w->bob, pok = w->other_pok;
    struct dime_ssr_plan plan = {.sign_key = w->bob.key, .enc_key = w->bob_enc};
    enum dime_reason why;
    struct dime_signet ssr;
    struct kd_buf request, b;

    (void)state;
    assert_user_is_made("appendix/SSR0.b64", "appendix/USER0.b64", NONE,
                        "alice@example.com", &w->sok);
    assert_user_is_made("appendix/SSR1.b64", "appendix/USER1.b64",
                        kd_slice_str("\x10\x05"
                                     "Alice"),
                        "alice@example.com", &w->sok);
    kd_buf_init(&request, 4096);
    kd_buf_init(&b, 4096);
    assert_int_equal(
        dime_ssr_build(&plan, (struct dime_signer){sg_signer, &bob}, &request, &why),
        KD_OK);
    assert_int_equal(dime_signet_parse(kd_buf_slice(&request), &ssr, &why), KD_OK);
    struct dime_user_plan user = {.ssr = &ssr,
                                  .identifier = kd_slice_str("bob@example.org")};
    assert_int_equal(
        dime_user_build(&user, (struct dime_signer){sg_signer, &pok}, &b, &why), KD_OK);
    assert_is_file(&b, "appendix/BOB.b64");
    kd_buf_free(&request);
    kd_buf_free(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_gets_the_verdict_of_the_decisions),
        cmocka_unit_test(armoured_files_hold_the_same_objects),
        cmocka_unit_test(armoured_only_files_get_their_verdicts),
        cmocka_unit_test(T_SG_6_fingerprints_of_the_index_are_reproduced),
        cmocka_unit_test(prime_signet_is_layout_p_with_its_fingerprint),
        cmocka_unit_test(upstream_objects_are_read),
        cmocka_unit_test(organizational_signets_of_the_appendix_are_made),
        cmocka_unit_test(requests_of_the_appendix_are_made),
        cmocka_unit_test(user_signets_of_the_appendix_are_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

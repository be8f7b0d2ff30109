/* What the DIME authors' own tools made, resolved as it would be met: their management
 * records in a signed zone, their certificate in a handshake, their signets from a
 * DMTP host (vectors/mrec, vectors/libdime). */
#include "netns.h"
#include "rs_world.h"
#include "suite.h"

#include <keyd/base/clock.h>

#include <openssl/pem.h>
#include <string.h>

#define HOST "127.0.0.23"

enum { FILE_MAX = 65536, HOUR = 3600 };

static struct zones *zones;
static struct dmtp_server *server;
static struct identity id;
static char state[96], anchor[128];
static const char *user = "alice"; /* whose signet alice's is now */
static int64_t now = 1800000000;

static size_t
load(const char *name, uint8_t *out)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", KEYD_VECTORS, name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        fail_msg("%s is not there", path);
    size_t n = fread(out, 1, FILE_MAX - 1, f);
    assert_int_equal(fclose(f), 0);
    out[n] = '\0';
    return n;
}

/* --- the host -----------------------------------------------------------------------
 */

static void
say_files(struct kd_buf *reply, unsigned code, const char *const *files, size_t n)
{
    static uint8_t octets[2][FILE_MAX];
    struct kd_slice list[2];

    for (size_t i = 0; i < n; i++)
        list[i] = kd_slice(octets[i], load(files[i], octets[i]));
    dmtp_say_objects(reply, code, list, n);
}

static void
say(void *arg, const char *command, struct kd_buf *reply)
{
    char file[64];
    const char *one[] = {file};
    const char *const links[] = {"libdime/signets/alice.core.signet.bin",
                                 "libdime/signets/alice2.core.signet.bin"};

    (void)arg;
    snprintf(file, sizeof file, "libdime/signets/%s.signet.bin",
             strchr(command, '@') == NULL ? "orga" : user);
    if (strncmp(command, "QUIT", 4) == 0)
        kd_buf_printf(reply, "221 BYE\n");
    else if (strncmp(command, "HIST", 4) == 0)
        say_files(reply, 290, links, 2);
    else
        say_files(reply, strchr(command, '@') == NULL ? 270 : 280, one, 1);
}

static void
load_identity(void)
{
    static uint8_t pem[FILE_MAX];
    BIO *bio = BIO_new_mem_buf(pem, (int)load("mrec/dx.orga.example.crt.pem", pem));

    id.cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    bio = BIO_new_mem_buf(pem, (int)load("mrec/dx.orga.example.key.pem", pem));
    id.key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    assert_non_null(id.cert);
    assert_non_null(id.key);
}

/* --- the zone -----------------------------------------------------------------------
 */

/* The record of a file, in strings of at most 255 octets, cut where fields end. */
static const char *
records(const char *file, char out[8192])
{
    static uint8_t text[FILE_MAX];
    size_t n = load(file, text), at = 0;
    int used = snprintf(out, 8192, "dx A " HOST "\n_dime 60 TXT ");

    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    while (at < n) {
        size_t end = n - at <= 255 ? n : at + 255;
        while (end < n && text[end - 1] != ' ')
            end--;
        used += snprintf(out + used, 8192 - (size_t)used, "\"%.*s\" ", (int)(end - at),
                         (const char *)text + at);
        at = end;
    }
    snprintf(out + used, 8192 - (size_t)used, "\n");
    return out;
}

static int64_t
clock_of_test(void *arg)
{
    (void)arg;
    return now;
}

static const struct dime_answer *
ask(const char *name, bool remembers, enum dime_outcome want)
{
    const struct dime_resolver_conf conf = {.state_dir = remembers ? state : NULL,
                                            .anchor_file = anchor,
                                            .hints_file = zones_hints(zones),
                                            .is_local = true,
                                            .now = clock_of_test};
    const struct dime_query q = {.name = name, .deadline = kd_clock_ms() + 15000};
    struct dime_resolver *r = NULL;
    const struct dime_answer *a = NULL;
    const char *why;

    assert_int_equal(dime_resolver_new(&conf, &r, &why), KD_OK);
    assert_int_equal(dime_resolve(r, &q, &a), KD_OK);
    dime_resolver_free(r);
    if (a->outcome == want)
        return a;
    for (size_t i = 0; i < a->n_steps; i++)
        print_message("  %s: %s\n", a->steps[i].word, a->steps[i].text);
    fail_msg("%s is %s", name, dime_outcome_name(a->outcome));
    return NULL;
}

static void
is_the_file(struct kd_slice octets, const char *file)
{
    static uint8_t text[FILE_MAX];

    assert_true(kd_slice_eq(octets, kd_slice(text, load(file, text))));
}

static void
their_records_certificate_and_signets_are_believed(void **arg)
{
    static const char *const files[] = {"mrec/orga.mrec.txt", "mrec/tls-both.txt",
                                        "mrec/tls-der-only.txt"};
    char text[8192];

    (void)arg;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        zones_change(zones, "orga.example", records(files[i], text));
        const struct dime_answer *a = ask("alice@orga.example", false, DIME_IS_DARK);
        assert_true(a->is_secure);
        assert_true(rs_told(a, "certificate", "matches the record", 0));
        is_the_file(a->org_signet, "libdime/signets/orga.signet.bin");
        is_the_file(a->user_signet, "libdime/signets/alice.signet.bin");
        dime_answer_free(a);
    }
}

static void
records_that_they_refuse_are_broken_or_a_finding(void **arg)
{
    static const struct {
        const char *file;
        enum dime_outcome outcome;
    } all[] = {
        {"mrec/bad-pol.txt", DIME_IS_RECORD_BROKEN},
        {"mrec/no-pok.txt", DIME_IS_RECORD_BROKEN},
        {"mrec/padded-pok.txt", DIME_IS_RECORD_BROKEN},
        {"mrec/short-pok.txt", DIME_IS_RECORD_BROKEN},
        {"mrec/ver2.txt", DIME_IS_RECORD_BROKEN},
    };
    char text[8192];

    (void)arg;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        zones_change(zones, "orga.example", records(all[i].file, text));
        dime_answer_free(ask("orga.example", false, all[i].outcome));
    }
    zones_change(zones, "orga.example", records("mrec/tls-both.txt", text));
}

static void
their_chain_is_followed(void **arg)
{
    (void)arg;
    user = "alice";
    dime_answer_free(ask("alice@orga.example", true, DIME_IS_DARK));
    user = "alice2";
    now += 2 * HOUR;
    const struct dime_answer *a = ask("alice@orga.example", true, DIME_IS_DARK);
    is_the_file(a->user_signet, "libdime/signets/alice2.signet.bin");
    assert_true(rs_told(a, "chain", "2 links, from the known one", 0));
    dime_answer_free(a);
    user = "bob"; /* valid, and somebody else's */
    now += 2 * HOUR;
    dime_answer_free(ask("alice@orga.example", true, DIME_IS_UNTRUSTED));
    user = "alice";
}

static int
begin(void **arg)
{
    static char text[8192];
    const char *tmp = getenv("TMPDIR");

    (void)arg;
    snprintf(state, sizeof state, "%s/rv-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(state));
    snprintf(anchor, sizeof anchor, "%s-anchor", state);
    load_identity();
    const struct zone_spec spec = {.name = "orga.example",
                                   .kind = ZONE_SIGNED,
                                   .records = records("mrec/tls-both.txt", text)};
    zones = zones_start(&spec, 1);
    FILE *f = fopen(anchor, "we");
    assert_non_null(f);
    fprintf(f, "%s\n", zones_anchor(zones));
    assert_int_equal(fclose(f), 0);
    server = dmtp_server_start(&(struct dmtp_server_conf){
        .address = HOST, .port = 26, .id = &id, .answer = say});
    return 0;
}

static int
end(void **arg)
{
    struct dmtp_server_seen seen;
    char command[300];

    (void)arg;
    dmtp_server_stop(server, &seen);
    zones_stop(zones);
    identity_clear(&id);
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", state, anchor);
    assert_int_equal(system(command), 0);
    return 0;
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(their_records_certificate_and_signets_are_believed),
        cmocka_unit_test(records_that_they_refuse_are_broken_or_a_finding),
        cmocka_unit_test(their_chain_is_followed),
    };

    suite_begin(argc, argv);
    netns_enter();
    return cmocka_run_group_tests(tests, begin, end);
}

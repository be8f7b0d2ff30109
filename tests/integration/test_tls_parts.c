/* Objects in parts at the remote listener of a whole daemon. */
#include "people.h"
#include "png.h"
#include "tls_suite.h"

#include <signal.h>
#include <unistd.h>

/* Asks for a signet of a new person, with the image of that upload. */
static const Keyd__V1__Response *
issue(struct tls_peer *t, uint64_t person, const char *address, const uint8_t *upload)
{
    static struct kd_buf ssr;
    static uint8_t key[16];
    Keyd__V1__IssueUserSignetRequest in = KEYD__V1__ISSUE_USER_SIGNET_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    kd_buf_free(&ssr);
    person_request("tls", person, &ssr);
    key[0]++;
    r.op_case = KEYD__V1__REQUEST__OP_ISSUE_USER_SIGNET;
    r.issue_user_signet = &in;
    r.idempotency_key = kd_rpc_data(kd_slice(key, sizeof key));
    in.address = kd_rpc_data(kd_slice_str(address));
    in.ssr = kd_rpc_data(kd_buf_slice(&ssr));
    in.account_mode = KEYD__V1__ACCOUNT_MODE__ACCOUNT_MODE_TRUSTFUL;
    if (upload != NULL) {
        in.image_fd = true;
        r.upload_id = kd_rpc_data(kd_slice(upload, 16));
    }
    return tls_ask(t, &r);
}

static const Keyd__V1__Response *
fetch(struct tls_peer *t, const uint8_t id[16], uint64_t offset, uint32_t limit)
{
    Keyd__V1__FetchPartRequest part = KEYD__V1__FETCH_PART_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    r.op_case = KEYD__V1__REQUEST__OP_FETCH_PART;
    r.fetch_part = &part;
    part.object_id = kd_rpc_data(kd_slice(id, 16));
    part.offset = offset;
    part.limit = limit;
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    return a;
}

/* All of an object. */
static void
fetch_all(struct tls_peer *t, const uint8_t id[16], size_t size, uint8_t *out)
{
    for (size_t at = 0; at < size;) {
        const Keyd__V1__Response *a = fetch(t, id, at, 48 * 1024);
        assert_int_equal(a->status, KEYD__V1__STATUS__STATUS_OK);
        assert_true(a->fetch_part->data.len > 0 &&
                    a->fetch_part->data.len <= size - at);
        memcpy(out + at, a->fetch_part->data.data, a->fetch_part->data.len);
        at += a->fetch_part->data.len;
    }
}

enum { OBJECT_MAX = 512 * 1024 };

static void
an_image_goes_in_and_the_signet_comes_out_in_parts(void **state)
{
    static uint8_t signet[OBJECT_MAX];
    static const uint8_t upload[16] = {1};
    struct keyd_answer *found = NULL;
    struct tls_peer t;
    struct kd_buf png;
    uint8_t id[16];

    (void)state;
    make_png(&png, 200 * 1024);
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(tls_upload(&t, upload, kd_buf_slice(&png)),
                     KEYD__V1__STATUS__STATUS_OK);
    const Keyd__V1__Response *a = issue(&t, 1, "image@example.com", upload);
    assert_non_null(a);
    assert_int_equal(a->status, KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(a->object_id.len, sizeof id);
    memcpy(id, a->object_id.data, sizeof id);
    size_t size = a->issue_user_signet->signet_fd_size;
    assert_true(size > png.n && size <= sizeof signet);
    fetch_all(&t, id, size, signet);
    assert_true(has_detail(fetch(&t, id, 0, 10), KEYD__V1__STATUS__STATUS_NOT_FOUND,
                           "object-gone"));
    tls_close(&t);

    keyd_client *c = daemon_connect(&keyd, "mta");
    assert_non_null(c);
    assert_int_equal(
        keyd_client_lookup_signet(c, KEYD_STR("image@example.com"), KEYD_NONE, &found),
        KEYD_OK);
    assert_int_equal(found->out.signet.signet.n, size);
    assert_memory_equal(found->out.signet.signet.p, signet, size);
    keyd_client_answer_free(found);
    keyd_client_free(c);
    kd_buf_free(&png);
}

static Keyd__V1__Status
looks_up_large(struct tls_peer *t, uint8_t id[16], size_t *size)
{
    Keyd__V1__LookupSignetRequest look = KEYD__V1__LOOKUP_SIGNET_REQUEST__INIT;
    Keyd__V1__Request r = KEYD__V1__REQUEST__INIT;

    r.op_case = KEYD__V1__REQUEST__OP_LOOKUP_SIGNET;
    r.lookup_signet = &look;
    look.name = kd_rpc_data(kd_slice_str("image@example.com"));
    const Keyd__V1__Response *a = tls_ask(t, &r);
    assert_non_null(a);
    if (a->status == KEYD__V1__STATUS__STATUS_OK) {
        assert_int_equal(a->object_id.len, 16);
        memcpy(id, a->object_id.data, 16);
        *size = a->lookup_signet->signet_fd_size;
    }
    return a->status;
}

static void
objects_that_are_not_fetched_are_bounded_and_given_back(void **state)
{
    uint8_t ids[3][16];
    size_t size = 0;
    struct tls_peer t, other;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    assert_int_equal(looks_up_large(&t, ids[0], &size), KEYD__V1__STATUS__STATUS_OK);
    assert_int_equal(looks_up_large(&t, ids[1], &size), KEYD__V1__STATUS__STATUS_OK);
    assert_memory_not_equal(ids[0], ids[1], 16);
    assert_int_equal(looks_up_large(&t, ids[2], &size), KEYD__V1__STATUS__STATUS_BUSY);
    /* of another connection of the same principal it is neither seen nor counted apart
     */
    assert_true(tls_greet(&other, place.port, &place.mx1));
    assert_true(has_detail(fetch(&other, ids[0], 0, 10),
                           KEYD__V1__STATUS__STATUS_NOT_FOUND, "object-gone"));
    assert_int_equal(looks_up_large(&other, ids[2], &size),
                     KEYD__V1__STATUS__STATUS_BUSY);
    const Keyd__V1__Response *a = fetch(&t, ids[0], 7, 100);
    assert_int_equal(a->fetch_part->data.len, 100);
    assert_true(has_detail(fetch(&t, ids[0], size + 1, 10),
                           KEYD__V1__STATUS__STATUS_INVALID, "field-value"));
    assert_int_equal(fetch(&t, ids[0], size - 1, 48 * 1024)->fetch_part->data.len, 1);
    assert_int_equal(looks_up_large(&t, ids[2], &size), KEYD__V1__STATUS__STATUS_OK);
    tls_close(&t);
    /* What a connection held is given back when it ends. */
    Keyd__V1__Status status = KEYD__V1__STATUS__STATUS_BUSY;
    for (int i = 0; i < 200 && status == KEYD__V1__STATUS__STATUS_BUSY; i++) {
        usleep(5000);
        status = looks_up_large(&other, ids[0], &size);
    }
    assert_int_equal(status, KEYD__V1__STATUS__STATUS_OK);
    tls_close(&other);
}

static void
parts_out_of_order_lose_the_upload(void **state)
{
    static const uint8_t id[16] = {9};
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 200, 1000, 100), INVALID, "upload-order");
    IS(part(&t, 1, 100, 1000, 100), INVALID, "upload-unknown");
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 100, 999, 100), INVALID, "upload-order"); /* another total */
    IS(part(&t, 1, 0, 1000, 100), OK, "");
    IS(part(&t, 1, 0, 1000, 100), INVALID, "upload-order"); /* the same again */
    IS(part(&t, 2, 0, 100, 100), OK, "");
    IS(part(&t, 2, 0, 100, 100), INVALID, "upload-order"); /* it was complete */
    IS(part(&t, 3, 50, 100, 50), INVALID, "upload-unknown");
    IS(part(&t, 3, 0, 1048577, 100), INVALID, "object-size");
    /* All of it is free again: two at once. */
    IS(part(&t, 4, 0, 1048576, 100), OK, "");
    IS(part(&t, 5, 0, 1048576, 100), OK, "");
    IS(part(&t, 6, 0, 1000, 100), BUSY, "too-many-objects");
    /* what is not whole is no object */
    IS(issue(&t, 2, "two@example.com", id), INVALID, "upload-unknown");
    const uint8_t four[16] = {4};
    IS(issue(&t, 2, "two@example.com", four), INVALID, "upload-unknown");
    IS(part(&t, 4, 100, 1048576, 100), INVALID, "upload-unknown"); /* it was used up */
    tls_close(&t);
}

static void
a_request_uses_its_upload_up_whatever_comes_of_it(void **state)
{
    static const uint8_t one[16] = {1};
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx1));
    for (int i = 0; i < 5; i++) { /* more than two: each is free afterwards */
        IS(part(&t, 1, 0, 100, 100), OK, "");
        IS(issue(&t, 3, "three@example.com", one), INVALID, "bad-image");
        IS(issue(&t, 3, "three@example.com", one), INVALID, "upload-unknown");
    }
    IS(part(&t, 1, 0, 100, 100), OK, "");
    IS(issue(&t, 3, "three@example.net", one), DENIED, "not-permitted");
    IS(issue(&t, 3, "three@example.com", one), INVALID, "upload-unknown");
    tls_close(&t);
}

static void
the_pool_is_for_all_and_given_back_at_the_end(void **state)
{
    struct tls_peer a, b;

    (void)state;
    assert_true(tls_greet(&a, place.port, &place.mx1));
    assert_true(tls_greet(&b, place.port, &place.mx3));
    IS(part(&a, 1, 0, 1048576, 1), OK, "");
    IS(part(&a, 2, 0, 1048576, 1), OK, "");
    IS(part(&b, 1, 0, 1, 1), BUSY, "too-many-objects");
    tls_close(&a);
    for (int i = 0; i < 400; i++) {
        if (part(&b, 1, 0, 100, 1)->status == KEYD__V1__STATUS__STATUS_OK)
            break;
        usleep(5000);
    }
    IS(part(&b, 1, 1, 100, 99), OK, "");
    tls_close(&b);
}

static void
an_upload_nobody_uses_is_dropped_in_time(void **state)
{
    struct tls_peer t;

    (void)state;
    assert_true(tls_greet(&t, place.port, &place.mx3));
    IS(part(&t, 1, 0, 100, 1), OK, "");
    IS(part(&t, 2, 0, 100, 100), OK, "");
    IS(part(&t, 3, 0, 100, 100), BUSY, "too-many-objects");
    sleep(4); /* upload-timeout is 3 s */
    IS(part(&t, 1, 1, 100, 1), INVALID, "upload-unknown");
    IS(part(&t, 3, 0, 100, 100), OK, "");
    tls_close(&t);
}

static void
no_process_left_its_sandbox_or_crashed(void **state)
{
    (void)state;
    tls_suite_ends_well(0);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_goes_in_and_the_signet_comes_out_in_parts),
        cmocka_unit_test(objects_that_are_not_fetched_are_bounded_and_given_back),
        cmocka_unit_test(parts_out_of_order_lose_the_upload),
        cmocka_unit_test(a_request_uses_its_upload_up_whatever_comes_of_it),
        cmocka_unit_test(the_pool_is_for_all_and_given_back_at_the_end),
        cmocka_unit_test(an_upload_nobody_uses_is_dropped_in_time),
        cmocka_unit_test(no_process_left_its_sandbox_or_crashed),
    };

    suite_begin(argc, argv);
    return cmocka_run_group_tests(tests, tls_suite_start, tls_suite_end);
}

#include "dmt.h"

#include "test.h"

#include <keyd/base/secret.h>

#include <stdlib.h>

enum { REGION = 1 << 16 };

struct dmw w;
struct dmr r;
struct dmr_keys believed;

int
dmt_begin(void **state)
{
    const struct sg_world *world = sg_world();

    (void)state;
    assert_int_equal(kd_secret_setup(REGION), KD_OK);
    memcpy(believed.author, world->alice.key, 32);
    memcpy(believed.org[0], world->pok.key, 32);
    memcpy(believed.org[1], world->sok.key, 32);
    believed.n_org = 2;
    return 0;
}

struct kd_slice
write_message(const struct dmw_recipe *recipe)
{
    dmw_free(&w);
    return dmw_message(&w, recipe);
}

void
open_as(enum dime_actor actor, struct kd_slice octets)
{
    static uint8_t *copy;
    struct dmw_person p = w.people[actor];

    free(copy);
    assert_non_null(copy = malloc(octets.n));
    memcpy(copy, octets.p, octets.n);
    struct dime_source source = dime_source_of(kd_slice(copy, octets.n));
    dmr_free(&r);
    dmr_open(&source, 0, actor, p.scalar, &believed, &r);
}

void
open_parts(const struct dmw_chunk *parts, size_t n, uint64_t seed)
{
    open_as(DIME_RECIPIENT, write_message(&(struct dmw_recipe){
                                .seed = seed, .contents = parts, .n_contents = n}));
    assert_int_equal(r.walked, KD_OK);
}

void
accepted_by_all(struct kd_slice octets)
{
    for (unsigned a = 0; a < DIME_ACTOR_COUNT; a++) {
        open_as((enum dime_actor)a, octets);
        if (!dmr_accepts(&r))
            fail_msg("the %s does not", dime_actor_name((enum dime_actor)a));
    }
}

void
assert_part(size_t i, uint8_t type, struct kd_slice want)
{
    assert_true(i < r.n_parts);
    const struct dmr_part *p = &r.parts[i];
    assert_int_equal(p->span.state, DIME_SPAN_GOOD);
    assert_int_equal(p->span.first.def->type, type);
    assert_int_equal(p->span.size, want.n);
    assert_int_equal(p->data.n, want.n);
    assert_memory_equal(p->data.p, want.p, want.n);
}

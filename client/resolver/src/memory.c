#include "memory.h"

#include "answer.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

enum { SHARDS = 64, WAYS = 8 };

/* A bucket holds few answers, the one that was asked for last in front. */
struct bucket {
    const struct dime_answer *list[WAYS];
};

struct shard {
    pthread_mutex_t lock;
    struct bucket *buckets;
};

struct memory {
    uint8_t key[crypto_shorthash_KEYBYTES]; /* nobody chooses where names fall */
    size_t n_buckets;                       /* of a shard; a power of two */
    struct shard shards[SHARDS];
};

struct memory *
memory_new(size_t n)
{
    struct memory *m = calloc(1, sizeof *m);
    size_t n_buckets = 1;

    if (m == NULL)
        return NULL;
    while (n_buckets * SHARDS * WAYS / 2 < n)
        n_buckets *= 2;
    m->n_buckets = n_buckets;
    crypto_shorthash_keygen(m->key);
    for (size_t i = 0; i < SHARDS; i++) {
        m->shards[i].buckets = calloc(n_buckets, sizeof(struct bucket));
        if (m->shards[i].buckets == NULL ||
            pthread_mutex_init(&m->shards[i].lock, NULL) != 0) {
            free(m->shards[i].buckets);
            m->shards[i].buckets = NULL;
            memory_free(m);
            return NULL;
        }
    }
    return m;
}

void
memory_free(struct memory *m)
{
    if (m == NULL)
        return;
    memory_forget_all(m);
    for (size_t i = 0; i < SHARDS && m->shards[i].buckets != NULL; i++) {
        pthread_mutex_destroy(&m->shards[i].lock);
        free(m->shards[i].buckets);
    }
    free(m);
}

/* The name's bucket, with its shard's lock. */
static struct bucket *
lock_bucket(struct memory *m, const char *name, struct shard **shard)
{
    uint64_t h = 0;

    crypto_shorthash((uint8_t *)&h, (const uint8_t *)name, strlen(name), m->key);
    *shard = &m->shards[h % SHARDS];
    pthread_mutex_lock(&(*shard)->lock);
    return &(*shard)->buckets[h / SHARDS % m->n_buckets];
}

/* Its place in the bucket; WAYS if it is not there. */
static size_t
find(const struct bucket *b, const char *name)
{
    size_t i = 0;

    while (i < WAYS && (b->list[i] == NULL || strcmp(b->list[i]->name, name) != 0))
        i++;
    return i;
}

static void
drop(struct bucket *b, size_t i)
{
    dime_answer_free(b->list[i]);
    memmove(&b->list[i], &b->list[i + 1], (WAYS - 1 - i) * sizeof b->list[0]);
    b->list[WAYS - 1] = NULL;
}

/* What is there at i < WAYS, or a new one at WAYS, comes to the front. */
static void
to_front(struct bucket *b, size_t i, const struct dime_answer *answer)
{
    memmove(&b->list[1], &b->list[0], i * sizeof b->list[0]);
    b->list[0] = answer;
}

const struct dime_answer *
memory_get(struct memory *m, const char *name, int64_t now)
{
    const struct dime_answer *out = NULL;
    struct shard *shard;
    struct bucket *b = lock_bucket(m, name, &shard);
    size_t i = find(b, name);

    if (i < WAYS && now < b->list[i]->fresh_until) {
        const struct dime_answer *found = b->list[i];
        to_front(b, i, found);
        out = answer_ref(found);
    } else if (i < WAYS) {
        drop(b, i);
    }
    pthread_mutex_unlock(&shard->lock);
    return out;
}

void
memory_put(struct memory *m, const struct dime_answer *answer, int64_t now)
{
    struct shard *shard;
    struct bucket *b = lock_bucket(m, answer->name, &shard);
    size_t i = find(b, answer->name);

    if (i < WAYS)
        drop(b, i);
    if (now < answer->fresh_until) {
        dime_answer_free(b->list[WAYS - 1]);
        to_front(b, WAYS - 1, answer_ref(answer));
    }
    pthread_mutex_unlock(&shard->lock);
}

void
memory_forget(struct memory *m, const char *name)
{
    struct shard *shard;
    struct bucket *b = lock_bucket(m, name, &shard);
    size_t i = find(b, name);

    if (i < WAYS)
        drop(b, i);
    pthread_mutex_unlock(&shard->lock);
}

void
memory_forget_all(struct memory *m)
{
    for (size_t i = 0; i < SHARDS && m->shards[i].buckets != NULL; i++) {
        struct shard *s = &m->shards[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < m->n_buckets; k++)
            for (size_t w = 0; w < WAYS; w++) {
                dime_answer_free(s->buckets[k].list[w]);
                s->buckets[k].list[w] = NULL;
            }
        pthread_mutex_unlock(&s->lock);
    }
}

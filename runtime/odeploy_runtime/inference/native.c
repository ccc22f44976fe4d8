/* A policy's forward pass for one row of inputs: matrix-vector products and elementwise operators.

   A program is a table of steps, made by native_program.py, which also answers for all sizes: nothing is
   checked here. All arrays begin on 64 bytes and their lengths are multiples of 8, with padding behind. A
   weight is stored in the order in which it is read: blocks of 64 columns, then blocks of 8. */

#include <stdint.h>
#include <string.h>

typedef float v8 __attribute__((vector_size(32), may_alias));

enum { GEMV, ADD, SUB, MUL, DIV, MIN, MAX, TANH, SIGMOID, ELU, COPY };

struct step {
    int32_t op, n, k, unused;
    const float *x, *w, *b;
    float *y;
};

/* Eight sums stay in registers while a block streams by: the cost is that of reading the weight. */
static void wide(const float *w, const float *x, const float *b, int k, float *y) {
    v8 sum[8];
    for (int j = 0; j < 8; j++) sum[j] = ((const v8 *)b)[j];
    for (int i = 0; i < k; i++, w += 64)
        for (int j = 0; j < 8; j++) sum[j] += x[i] * ((const v8 *)w)[j];
    for (int j = 0; j < 8; j++) ((v8 *)y)[j] = sum[j];
}

/* Four partial sums, since each addition waits for the one before. */
static void narrow(const float *w, const float *x, const float *b, int k, float *y) {
    v8 sum[4] = {*(const v8 *)b};
    int i = 0;
    for (; i + 4 <= k; i += 4)
        for (int j = 0; j < 4; j++) sum[j] += x[i + j] * ((const v8 *)w)[i + j];
    for (; i < k; i++) sum[0] += x[i] * ((const v8 *)w)[i];
    *(v8 *)y = (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static void gemv(const struct step *s) {
    const float *w = s->w;
    int j = 0;
    for (; j + 64 <= s->n; j += 64, w += 64 * s->k) wide(w, s->x, s->b + j, s->k, s->y + j);
    for (; j < s->n; j += 8, w += 8 * s->k) narrow(w, s->x, s->b + j, s->k, s->y + j);
}

/* exp(x) = 2^n exp(r) with |r| <= log(2) / 2, where the Taylor series to r^7 errs by 1e-8. Adding 1.5 · 2^23
   rounds to an integer and leaves it in the low bits; log(2) is subtracted in two parts, the first of them
   short enough that n times it is exact. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f, power;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float series = 1.0f / 5040;
    series = series * r + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    series = series * r + 1.0f;
    series = series * r + 1.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    bits = (int32_t)((uint32_t)(bits - 0x4B400000 + 127) << 23);
    memcpy(&power, &bits, 4);
    return series * power;
}

#define EACH(expression)              \
    for (int i = 0; i < s->n; i++) {  \
        float a = x[i], b = w[i];     \
        (void)b;                      \
        y[i] = (expression);          \
    }                                 \
    break

/* The comparisons are written so that a NaN in `a` stays one. Operators of one value are given it twice. */
static void elementwise(const struct step *s) {
    const float *restrict x = s->x, *restrict w = s->w;
    float *restrict y = s->y;
    switch (s->op) {
        case ADD: EACH(a + b);
        case SUB: EACH(a - b);
        case MUL: EACH(a * b);
        case DIV: EACH(a / b);
        case MIN: EACH(b < a ? b : a);
        case MAX: EACH(a < b ? b : a);
        case TANH: EACH(1.0f - 2.0f / (exponential(2.0f * a) + 1.0f));
        case SIGMOID: EACH(1.0f / (1.0f + exponential(-a)));
        case ELU: EACH(a > 0.0f ? a : exponential(a) - 1.0f);
        case COPY: EACH(a);
    }
}

/* The installed package's library runs on every processor of its architecture; `run`, with all that it calls, is
   there twice, and the processor chooses when the library is loaded. */
#if defined(PORTABLE) && defined(__x86_64__)
__attribute__((target_clones("arch=x86-64-v3", "default"), flatten))
#endif
void run(const struct step *step, int32_t count) {
    for (const struct step *end = step + count; step < end; step++) {
        if (step->op == GEMV) gemv(step);
        else elementwise(step);
    }
}

/* SHA-256 of this file, from the compiler's command line: a library of another release is not used. */
const char *const built_from = BUILT_FROM;

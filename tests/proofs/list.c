/* The intrusive list: forwards, backwards and in order, after an operation on any two lists. */
#include "proof.h"

#include "base/list.h"

#define NODES 4

static LmList heads[2];
static LmList nodes[NODES];
/* The model: who is in each list, in order. */
static int order[2][NODES];
static int count[2];

static void
forget(int node)
{
    for (int list = 0; list < 2; list++) {
        for (int i = 0; i < count[list]; i++) {
            if (order[list][i] == node) {
                for (int j = i; j + 1 < count[list]; j++) {
                    order[list][j] = order[list][j + 1];
                }
                count[list]--;
                return;
            }
        }
    }
}

static void
play_one(int list, int node)
{
    lm_list_remove(&nodes[node]); /* safe where it is in none */
    forget(node);
    switch (any_size(0, 2)) {
    case 0:
        lm_list_push_back(&heads[list], &nodes[node]);
        order[list][count[list]++] = node;
        break;
    case 1:
        lm_list_push_front(&heads[list], &nodes[node]);
        for (int i = count[list]++; i > 0; i--) {
            order[list][i] = order[list][i - 1];
        }
        order[list][0] = node;
        break;
    default:
        HOLDS(lm_list_is_empty(&nodes[node]), "what was taken out links to itself");
    }
}

static void
check(int list)
{
    HOLDS(lm_list_is_empty(&heads[list]) == (count[list] == 0), "empty where it is");
    LmList *at = &heads[list];
    for (int i = 0; i < count[list]; i++) {
        HOLDS(at->next == &nodes[order[list][i]], "in order");
        HOLDS(at->next->prev == at, "backwards as forwards");
        at = at->next;
    }
    HOLDS(at->next == &heads[list] && heads[list].prev == at, "closed");
}

/* Any two lists: which node is called what does not matter. */
static void
make_lists(void)
{
    int next = 0;
    for (int list = 0; list < 2; list++) {
        lm_list_init(&heads[list]);
        count[list] = 0;
        int most = (int)any_size(0, (size_t)(NODES - next));
        while (count[list] < most) {
            lm_list_push_back(&heads[list], &nodes[next]);
            order[list][count[list]++] = next++;
        }
    }
    while (next < NODES) {
        lm_list_init(&nodes[next++]);
    }
}

static void
prove_operation(void)
{
    make_lists();
    play_one(any_truth(), (int)any_size(0, NODES - 1));
    check(0);
    check(1);
}

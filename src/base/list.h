/* Intrusive doubly linked list: a node is a field of what it links, so linking never
   allocates.

   A list head is a node that links to itself. A node that is in no list links to itself
   too, so removal is always safe. Runs no Python. */
#ifndef LM_BASE_LIST_H
#define LM_BASE_LIST_H

typedef struct LmList {
    struct LmList *next;
    struct LmList *prev;
} LmList;

static inline void
lm_list_init(LmList *node)
{
    node->next = node->prev = node;
}

static inline int
lm_list_is_empty(const LmList *head)
{
    return head->next == head;
}

static inline void
lm_list_insert_between(LmList *node, LmList *prev, LmList *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void
lm_list_push_front(LmList *head, LmList *node)
{
    lm_list_insert_between(node, head, head->next);
}

static inline void
lm_list_push_back(LmList *head, LmList *node)
{
    lm_list_insert_between(node, head->prev, head);
}

static inline void
lm_list_remove(LmList *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    lm_list_init(node);
}

#endif
